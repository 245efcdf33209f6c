"""The one place where weights are computed from templates."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from softshare_jax.sharing import tree
from softshare_jax.sharing.plan import Plan

Variables = Mapping[str, Any]


def group_weights(coefficients: jax.Array, templates: jax.Array) -> jax.Array:
    """Returns the weights ``[L, *shape]`` that coefficients ``[L, k]`` make of templates ``[k, *shape]``.

    In full float32 precision on every backend: matrix units would otherwise
    round the weights to bfloat16 before the network has even run.
    """
    return jnp.einsum("lk,k...->l...", coefficients, templates, precision=jax.lax.Precision.HIGHEST)


def materialize(plan: Plan, variables: Variables) -> dict:
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
        A parameter tree as the model itself would have initialised it.
    """
    leaves: dict[str, Any] = {}
    for group in plan.groups:
        weights = group_weights(variables["coefficients"][group.name], variables["templates"][group.name])
        for member, weight in zip(group.members, weights, strict=True):
            if member.index is None:
                leaves[member.path] = weight
            else:
                leaves.setdefault(member.path, {})[member.index] = weight
    stacked = {
        path: jnp.stack([rows[i] for i in range(len(rows))])
        for path, rows in leaves.items()
        if isinstance(rows, dict)
    }
    return tree.join(variables.get("params", {}), {**leaves, **stacked})


def stack_members(plan: Plan, params: Mapping) -> tuple[dict, dict[str, jax.Array]]:
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
