"""The certificate of a fold, for any model and data."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from softshare_jax import sharing
from softshare_jax.conversion import difference
from softshare_jax.conversion.certificate import certificate_of
from softshare_jax.conversion.network import Apply, Network
from softshare_jax.errors import UserError
from softshare_jax.runs.artifacts import Certificate, Metric
from softshare_jax.sharing.checks import check_variables
from softshare_jax.sharing.comparison import exact_similarity


def certify(
    plan: sharing.Plan,
    variables: Mapping[str, Any],
    folded: sharing.Folded,
    apply: Apply,
    batches: Iterable[tuple[Any, Any]],
    score: Callable[[Any, Any], Any],
    *,
    measure: sharing.Measure = "weights",
    step: int = 0,
    name: str = "model",
) -> Certificate:
    """Measures what a fold saves and costs.

    Args:
        plan, variables: the network before the fold.
        folded: its plan and variables after it, as ``sharing.fold`` returns them.
        apply: ``apply(params, *inputs)`` returns the outputs, given the dense parameters as ``materialize``
            returns them. If it has a parameter with the name of another collection of the variables, such as
            ``batch_stats``, it gets that collection by keyword. It is traced by ``jax.jit``.
        batches: pairs ``(inputs, targets)``. Inputs are an array, or a tuple of arrays, ``[N, ...]`` each.
        score: ``score(outputs, targets)`` is the score of a batch, such as a mean over its examples; larger
            is better. The certificate has the mean over all examples and the name of this function. If it
            is ``accuracy``, the page shows errors in percent.
        measure: of the similarity that the certificate states: the least one of two layers that merged.
        step: of the training, for the certificate.
        name: of the model, for the certificate.

    Returns:
        The certificate: score before and after, the largest difference of an output, numbers of parameters
        and of distinct layers, and the loops. ``to_json`` returns it as plain values.

    Raises:
        UserError: the plan shares nothing, there are no batches, ``folded`` is not a fold of the network, or
            a score or an output is not finite.
        PlanError: the variables are not those of the plan, or a layer is not finite.
    """
    check_variables(plan, variables)
    if not plan.groups:
        raise UserError("the plan shares nothing, so there is no fold to measure")
    folded = _checked(plan, folded)
    networks = Network(plan, variables, apply), Network(*folded, apply)
    totals, differences, examples = np.zeros(2), [], 0
    for inputs, targets in batches:
        arrays = inputs if isinstance(inputs, tuple) else (inputs,)
        outputs = [network(*arrays) for network in networks]
        number = len(arrays[0])
        examples += number
        totals += [number * float(score(found, targets)) for found in outputs]
        differences.append(difference.largest(*outputs))
    if not examples:
        raise UserError("there are no batches to measure the fold on")
    # The maximum of numpy, unlike that of Python, is NaN if one of the numbers is.
    before, after, largest = *(totals / examples), float(np.max(differences))
    if not all(map(math.isfinite, (before, after, largest))):
        raise UserError("the score or an output of the network is not finite")
    metric = Metric(_name(score), f"{examples:,} examples", float(before), float(after))
    found = difference.between(variables, folded.variables, metric, largest)
    threshold = _least_similarity(plan, variables, folded, measure)
    return certificate_of(plan, folded, found, threshold, measure, step=step, model=name)


def _checked(plan: sharing.Plan, folded: Any) -> sharing.Folded:
    try:
        after, variables = folded
        layers = {group.name: group.members for group in after.groups}
    except (TypeError, ValueError, AttributeError):
        raise UserError("folded is a plan and its variables, as sharing.fold returns them") from None
    if layers != {group.name: group.members for group in plan.groups}:
        raise UserError("folded has other groups than the plan, so it is no fold of this network")
    for group in after.groups:
        if group.assignment is None and group.templates != plan.templates[group.name]:
            raise UserError(f"group {group.name!r} has another k and is not folded, so it is no fold")
    return sharing.Folded(after, variables)


def _least_similarity(
    plan: sharing.Plan, variables: Mapping[str, Any], folded: sharing.Folded, measure: sharing.Measure
) -> float:
    """Returns the least similarity of a layer and the one whose weight it takes; 1 if none merged."""
    layers = sharing.distinct_layers(*folded)
    found = [1.0]
    for group in plan.groups:
        matrix = exact_similarity(group, variables, measure)
        found += [float(matrix[pair]) for pair in enumerate(layers[group.name]) if pair[0] != pair[1]]
    return min(found)


def _name(score: Callable[..., Any]) -> str:
    name = getattr(score, "__name__", "score")
    return "score" if name == "<lambda>" else name
