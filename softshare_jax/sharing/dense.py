"""From ordinary weights to templates and back."""

from collections.abc import Mapping

import jax.numpy as jnp

from softshare_jax.sharing.materialization import Variables, materialize, stack_members
from softshare_jax.sharing.plan import Plan

SHARING_COLLECTIONS = ("params", "templates", "coefficients")


def from_dense(plan: Plan, params: Mapping) -> dict[str, dict]:
    """Returns the best k templates of given weights: a truncated SVD of each group.

    The stack of a group's weights, ``[L, d]``, is replaced by its nearest matrix of
    rank k (Eckart & Young 1936). Coefficients have orthonormal columns, the scale
    with which ``orthogonal`` initialises them, so that training can go on.

    Args:
        plan: which layers share. Groups with k = L are represented exactly.
        params: plain parameters, as ``materialize`` returns them.

    Returns:
        ``params`` (private), ``templates`` and ``coefficients``.

    Raises:
        PlanError: the plan does not fit the parameters.
    """
    private, dense = stack_members(plan, params)
    templates, coefficients = {}, {}
    for group in plan.groups:
        k = group.templates
        u, s, vt = jnp.linalg.svd(dense[group.name].reshape(group.layers, -1), full_matrices=False)
        # Where a layer has fewer numbers than the group has templates, the rank is
        # d and the templates beyond it are zero.
        rank = min(k, s.size)
        rows = jnp.zeros((k, vt.shape[1]), vt.dtype).at[:rank].set(s[:rank, None] * vt[:rank])
        templates[group.name] = rows.reshape(k, *group.shape)
        coefficients[group.name] = jnp.zeros((group.layers, k), u.dtype).at[:, :rank].set(u[:, :rank])
    return {"params": private, "templates": templates, "coefficients": coefficients}


def to_dense(plan: Plan, variables: Variables) -> dict[str, dict]:
    """Returns the variables of the plain network: materialised ``params``, and every
    collection that soft sharing does not own (such as ``batch_stats``) untouched."""
    others = {name: value for name, value in variables.items() if name not in SHARING_COLLECTIONS}
    return {"params": materialize(plan, variables), **others}
