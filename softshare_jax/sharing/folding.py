"""Folding: a soft-shared network becomes an explicitly recurrent one."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from softshare_jax.sharing.checks import check_variables
from softshare_jax.sharing.comparison import Comparison, compare, exact_similarity
from softshare_jax.sharing.dense import to_dense
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.factors import tie
from softshare_jax.sharing.group import Group
from softshare_jax.sharing.lsm import Measure
from softshare_jax.sharing.materialization import in_box_of
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.weights import Variables, columns, group_coefficients, group_weights

_Numbers = np.ndarray[Any, Any]
# Two layers count as one if their weights are parallel, up to the rounding of training in float32.
PARALLEL = 1 - 1e-5


class Folded(NamedTuple):
    """A folded network: again a plan and its variables."""

    plan: Plan
    variables: dict[str, Any]


def merge(matrix: Float[_Numbers, "L L"], threshold: float) -> tuple[int, ...]:
    """Decides which layer each layer becomes.

    In order of depth, a layer joins the most similar of the layers kept so far. It is kept itself if none
    reaches the threshold. Layers are compared with kept layers only, so nothing drifts along a chain:
    every layer is at least ``threshold`` similar to the layer that replaces it.

    Args:
        matrix: layer similarity matrix ``[L, L]``.
        threshold: from 0 (one layer is left) to 1 (parallel layers merge, up to rounding).

    Returns:
        ``[L]``: for each layer the index of the layer whose weight it takes; its own index if it is kept.

    Raises:
        ValueError: a similarity is NaN.
    """
    if np.isnan(matrix).any():
        raise ValueError("the layer similarity matrix contains NaN")
    threshold = min(threshold, PARALLEL)
    kept: list[int] = []
    merged = []
    for layer, row in enumerate(np.asarray(matrix)):
        best = int(max(kept, key=row.__getitem__, default=layer))
        if best == layer or row[best] < threshold:
            kept.append(layer)
            best = layer
        merged.append(best)
    return tuple(merged)


def fold(
    plan: Plan,
    variables: Variables,
    threshold: float = 0.9,
    measure: Measure = "weights",
    *,
    tied: bool = False,
    joint: Sequence[Sequence[str]] = (),
) -> Folded:
    """Merges layers of each group that are at least ``threshold`` similar.

    A merged layer j becomes s_j W_i, where W_i is the kept layer and s_j the least-squares scalar
    ``<W_i, W_j> / <W_i, W_i>``. ``|cos|`` ignores scale and sign and the network does not; with s_j the
    fold of parallel weights is exact. In a group with coefficients per channel each channel has its own s_j,
    and the fold of layers with parallel channels is exact.

    If a group has at most as many distinct layers as templates, it is rolled back to the standard
    parameterization: its templates become the distinct weights themselves, each row of coefficients keeps
    one nonzero entry, and the group's ``assignment`` names it. Otherwise the templates stay, and rows of
    coefficients become parallel.

    Layers are compared with their residuals. A group that is rolled back has no residuals any more: its
    templates are the weights of the kept layers with their residuals. In other groups a merged layer takes
    the residual of the kept one, times s_j. Both are exact for parallel weights.

    Args:
        plan: which layers share; groups may be folded already.
        variables: ``params``, ``templates``, ``coefficients`` and any other collection.
        threshold: smallest similarity at which layers merge, from 0 to 1.
        measure: similarity that decides: ``'weights'``, the default as in ``similarity``, or
            ``'coefficients'``.
        tied: merged layers become equal, without scalars of their own. Layers that point in opposite
            directions do not merge. If a group is rolled back, each distinct layer is the mean of those that
            merge, and training keeps them equal, so a loop computes the same at each turn. Otherwise each is
            the kept layer, times the mean scalar, and training can separate them again.
        joint: sets of groups that fold alike, such as ``[["query", "key"]]``: layer j of every group merges
            into layer i, or of none. Their similarity is that of the least similar group.

    Returns:
        The folded plan and its variables, for every function that takes a plan and variables.

    Raises:
        PlanError: the variables are not those of the plan, a layer is not finite, or ``joint`` names a group
            that does not exist, twice, or with another number of layers.
        ValueError: the threshold is outside 0..1, or the measure is unknown.
    """
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"the threshold is a similarity from 0 to 1, not {threshold}")
    check_variables(plan, variables)
    return _fold(plan, variables, _compare_all(plan, variables, measure, tied, joint), threshold, tied)


def _compare_all(
    plan: Plan, variables: Variables, measure: Measure, tied: bool, joint: Sequence[Sequence[str]]
) -> list[Comparison]:
    found = {}
    for group in plan.groups:
        found[group.name] = compare(group, variables, measure, tied or group.tied)
    for names in _checked(plan, joint):
        least = np.minimum.reduce([found[name].similarity for name in names])
        found |= {name: found[name]._replace(similarity=least) for name in names}
    return list(found.values())


def _checked(plan: Plan, joint: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """Returns the sets of groups that fold alike.

    Raises:
        PlanError: a name is not that of a group or occurs twice, or groups differ in their number of layers.
    """
    layers = {group.name: group.layers for group in plan.groups}
    named = [name for names in joint for name in names]
    for name in named:
        if name not in layers:
            raise PlanError(f"there is no group {name!r}, the groups are {', '.join(layers)}")
        if named.count(name) > 1:
            raise PlanError(f"group {name!r} is named twice among the groups that fold jointly")
    for names in joint:
        if len({layers[name] for name in names}) > 1:
            listed = ", ".join(f"{name} has {layers[name]}" for name in names)
            raise PlanError(f"groups that fold jointly need one number of layers: {listed}")
    return [names for names in joint if names]


def _fold(
    plan: Plan, variables: Variables, comparisons: list[Comparison], threshold: float, tied: bool
) -> Folded:
    groups, arrays = [], dict(variables)
    for name in plan.collections[1:] if plan.groups else ():
        arrays[name] = {}
    for group, comparison in zip(plan.groups, comparisons, strict=True):
        merged = merge(comparison.similarity, threshold)
        folded, parts = _fold_group(group, variables, comparison.scale, merged, tied or group.tied)
        groups.append(folded)
        for name, value in parts.items():
            arrays[name][group.name] = value
    folded_plan = Plan(tuple(groups))
    for name in set(plan.collections) - set(folded_plan.collections):
        del arrays[name]
    return Folded(folded_plan, arrays)


def _fold_group(
    group: Group, variables: Variables, scale: Float[_Numbers, "L L C"], merged: tuple[int, ...], tied: bool
) -> tuple[Group, dict[str, Any]]:
    """Returns the folded group and its arrays by collection."""
    arrays = {name: variables[name][group.name] for name in group.collections}
    templates, coefficients = arrays["templates"], arrays["coefficients"]
    kept = sorted(set(merged))
    if len(kept) == group.layers:
        return group, arrays
    layers, kept_layers = np.arange(group.layers), np.array(merged)
    multiples = scale[layers, kept_layers]
    if tied:
        alike = np.equal.outer(kept_layers, kept_layers)
        multiples = alike @ multiples / alike.sum(axis=1, keepdims=True)
    scales = multiples.astype(coefficients.dtype)
    if len(kept) > group.templates:
        rows = columns(group, group_coefficients(group, variables))[kept_layers]
        arrays["coefficients"] = (scales[:, None] * rows).reshape(group.coefficients_shape)
        if group.rank:
            left, right = (arrays["residuals"][side] for side in ("left", "right"))
            scaled = (scales[:, None] * right[kept_layers]).astype(right.dtype)
            arrays["residuals"] = {"left": left[kept_layers], "right": scaled}
        return group, arrays
    assignment = tuple(kept.index(layer) for layer in merged)
    weights = group_weights(group, variables)
    folded = dataclasses.replace(group, templates=len(kept), assignment=assignment, tied=tied, rank=0)
    if tied:
        means, used = tie(folded, weights)
        return folded, {
            "templates": in_box_of(templates, means),
            "coefficients": used.astype(coefficients.dtype),
        }
    # NumPy, because jax compiles for each number of kept layers, and a search tries many.
    one_hot = np.zeros((group.layers, len(kept), group.channels), coefficients.dtype)
    one_hot[layers, assignment] = scales
    return folded, {
        "templates": in_box_of(templates, jnp.asarray(np.asarray(weights)[kept])),
        "coefficients": jnp.asarray(one_hot.reshape(folded.coefficients_shape)),
    }


def fold_within(
    plan: Plan,
    variables: Variables,
    evaluate: Callable[[dict[str, Any]], float],
    max_drop: float,
    measure: Measure = "weights",
    *,
    before: float | None = None,
    tied: bool = False,
    joint: Sequence[Sequence[str]] = (),
) -> tuple[Folded, float]:
    """Folds as far as a metric allows.

    Bisects the thresholds at which the merged layers change. The fold that it returns was evaluated and
    is within the budget; if none is, nothing folds. If the metric is not monotone in the threshold, a lower
    one may exist.

    Args:
        plan: which layers share.
        variables: all collections.
        evaluate: metric of an unshared network's variables (larger is better). It always
            gets the same shapes, so a jitted evaluation compiles once.
        max_drop: largest decrease of the metric, in its own unit.
        measure, tied, joint: as for ``fold``.
        before: the metric before the fold; ``None`` to evaluate the variables as they are.

    Returns:
        ``(folded, threshold)``; the threshold is 1 if nothing folds.

    Raises:
        PlanError: the variables are not those of the plan, or a layer is not finite.
        ValueError: ``max_drop`` is negative, the measure is unknown, or the metric before the fold is NaN.
    """
    if not max_drop >= 0:
        raise ValueError(f"max_drop is {max_drop}; it must be 0 or more")
    check_variables(plan, variables)
    comparisons = _compare_all(plan, variables, measure, tied, joint)
    pairs = [c.similarity[np.triu_indices(len(c.similarity), 1)] for c in comparisons]
    thresholds = np.unique(np.maximum(np.concatenate([*pairs, np.ones(1)]), 0))
    floor = (evaluate(to_dense(plan, variables)) if before is None else before) - max_drop
    if math.isnan(floor):
        raise ValueError("the metric before the fold is NaN, so there is nothing to compare with")

    def folded_at(index: int) -> Folded:
        if index == len(thresholds):
            return Folded(plan, dict(variables))
        return _fold(plan, variables, comparisons, float(thresholds[index]), tied)

    # The last candidate is the network as it is.
    low, high = 0, len(thresholds)
    while low < high:
        middle = (low + high) // 2
        if evaluate(to_dense(*folded_at(middle))) >= floor:
            high = middle
        else:
            low = middle + 1
    return folded_at(high), float(np.append(thresholds, 1.0)[high])


def distinct_layers(plan: Plan, variables: Variables) -> dict[str, tuple[int, ...]]:
    """Returns for each layer of each group the first layer with a parallel weight.

    In a folded group the assignment decides. In any other group the cosine of the weights decides, in
    float64 and before the weights are rounded to their dtype.

    Args:
        plan: which layers share.
        variables: ``templates`` and ``coefficients``.

    Returns:
        ``{group: [L]}`` of layer indices. The number of different indices is the number of distinct
        layers; ``loops.find_loops`` reads the order in which they run.

    Raises:
        PlanError: the variables are not those of the plan, or a layer is not finite.
    """
    check_variables(plan, variables)
    return {
        group.name: tuple(map(group.assignment.index, group.assignment))
        if group.assignment is not None
        else merge(exact_similarity(group, variables, "weights"), PARALLEL)
        for group in plan.groups
    }
