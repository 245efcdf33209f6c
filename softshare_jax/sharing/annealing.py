"""From unshared to shared during training."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from softshare_jax.sharing.checks import check_variables
from softshare_jax.sharing.materialization import Variables, group_coefficients, group_rows
from softshare_jax.sharing.plan import Plan


def anneal(
    plan: Plan, variables: Variables, templates: Mapping[str, int], fraction: jax.Array | float
) -> dict[str, Any]:
    """Shrinks the part of the weights that k templates cannot represent.

    Splits the weights of each group ``[L, d]`` into their best approximation of rank k and the
    residual, and removes a fraction of the residual: at 0 nothing changes, at 1 the group has rank k and
    ``resize`` to k templates loses nothing. Only the coefficients change. Differentiable, with the
    directions of the split held, at the cost of an eigendecomposition ``[L, L]`` a group.

    Args:
        plan: before annealing, with more templates than the target; as many as layers to start unshared.
        variables: ``templates``, ``coefficients`` and any others, which stay.
        templates: the target k, by group; groups that it does not name stay as they are.
        fraction: of the residual to remove, in [0, 1].

    Raises:
        PlanError: the variables are not those of the plan, k is outside 1..L, or there is no group of a name.
    """
    check_variables(plan, variables)
    target = plan.with_templates(templates).templates
    coefficients = dict(variables["coefficients"])
    for group in plan.groups:
        if target[group.name] == group.templates:
            continue
        alpha, rows = (
            group_coefficients(group, variables),
            jax.lax.stop_gradient(group_rows(group, variables)),
        )
        # The directions do not depend on the scale, and squares of scaled rows do not overflow.
        rows = rows / jnp.maximum(jnp.max(jnp.abs(rows)), jnp.finfo(rows.dtype).tiny)
        _, directions = jnp.linalg.eigh(jnp.matmul(rows, rows.T, precision="highest"))
        rest = directions[:, : group.layers - target[group.name]]
        gone = jnp.matmul(rest, jnp.matmul(rest.T, alpha, precision="highest"), precision="highest")
        coefficients[group.name] = alpha - fraction * gone
    return {**variables, "coefficients": coefficients}
