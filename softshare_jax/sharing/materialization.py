"""The one place where weights are computed from templates."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from softshare_jax.sharing import tree
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.tree import PyTree

Variables = Mapping[str, Any]


def group_weights(coefficients: jax.Array, templates: jax.Array) -> jax.Array:
    """Returns the weights ``[L, *shape]`` that coefficients ``[L, k]`` make of templates ``[k, *shape]``.

    In full float32 precision on every backend: matrix units would otherwise round the weights to
    bfloat16 before the network has even run. The weights have the dtype of the templates, which is
    that of the model's own parameters; coefficients may be finer.
    """
    weights = jnp.einsum("lk,k...->l...", coefficients, templates, precision=jax.lax.Precision.HIGHEST)
    return weights.astype(templates.dtype)


def materialize(plan: Plan, variables: Variables) -> PyTree:
    """Returns the ordinary parameters of the network: W_i = sum_j alpha_ij T_j.

    Pure and differentiable; under jit it costs one small matrix product a group
    and step (Savarese & Maire 2019, section 3).

    Args:
        plan: which layers share.
        variables: ``params``, the private parameters; ``templates`` and
            ``coefficients``, by group name ``[k, *shape]`` and ``[L, k]``. Other
            collections are not looked at, and a plan without groups needs
            ``params`` alone.

    Returns:
        A parameter tree as the model itself would have initialised it: of the same structure, be it
        a dictionary, an NNX state or an Equinox module.
    """
    leaves: dict[str, jax.Array] = {}
    stacks: dict[str, list[tuple[list[int], jax.Array]]] = {}
    for group in plan.groups:
        weights = group_weights(variables["coefficients"][group.name], variables["templates"][group.name])
        rows: dict[str, list[tuple[int, int]]] = {}
        for layer, member in enumerate(group.members):
            if member.index is None:
                leaves[member.path] = weights[layer]
            else:
                rows.setdefault(member.path, []).append((member.index, layer))
        for path, pairs in rows.items():
            indices, chosen = zip(*pairs, strict=True)
            stacks.setdefault(path, []).append((list(indices), _take(weights, chosen)))
    for path, parts in stacks.items():
        # A stack is gathered whole, so that what is compiled does not grow with its rows.
        order = np.argsort(np.concatenate([indices for indices, _ in parts]))
        leaves[path] = _take(jnp.concatenate([weights for _, weights in parts]), order)
    return tree.join(variables.get("params", {}), leaves)


def _take(weights: jax.Array, layers: Sequence[int] | np.ndarray) -> jax.Array:
    """Returns some layers of ``[L, *shape]``; evenly spaced ones as a slice, which costs least."""
    steps = np.diff(layers)
    if len(steps) == 0 or (steps[0] > 0 and np.all(steps == steps[0])):
        return weights[layers[0] : layers[-1] + 1 : steps[0] if len(steps) else 1]
    return weights[np.asarray(layers)]


def stack_members(plan: Plan, params: PyTree) -> tuple[PyTree, dict[str, jax.Array]]:
    """Splits plain parameters: the inverse of ``materialize``, up to the factorisation.

    Returns:
        ``(private, dense)``: the parameters that no group shares, and for each
        group the weights of its layers, ``[L, *shape]``.

    Raises:
        PlanError: the plan does not fit the parameters.
    """
    private, leaves = tree.split(params, plan(params).paths)
    dense = {
        group.name: jnp.stack(
            [leaves[m.path] if m.index is None else leaves[m.path][m.index] for m in group.members]
        )
        for group in plan.groups
    }
    return private, dense
