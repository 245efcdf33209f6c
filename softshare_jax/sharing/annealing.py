"""From unshared to shared during training."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from softshare_jax.sharing.checks import check_variables
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.weights import Variables, columns, group_coefficients, mixtures


def anneal(
    plan: Plan, variables: Variables, templates: Mapping[str, int], fraction: jax.Array | float
) -> dict[str, Any]:
    """Shrinks the part of the weights that k templates cannot represent.

    Splits the weights of each group ``[L, d]`` into their best approximation of rank k and the
    residual, and removes a fraction of the residual. At 0 nothing changes. At 1 the group has rank k, and
    ``resize`` to k templates loses nothing. Only the coefficients change. Differentiable, with the
    directions of the split held constant; costs an eigendecomposition ``[L, L]`` per group, or per channel of
    a group with coefficients per channel.

    Args:
        plan: plan before annealing, with more templates than the target; one per layer to start unshared.
        variables: ``templates``, ``coefficients`` and any others, which do not change.
        templates: target k by group name; other groups do not change.
        fraction: fraction of the residual to remove, in [0, 1].

    Raises:
        PlanError: the variables are not those of the plan, k is outside 1..L, a name is not that of a
            group, or a group that changes is folded.
    """
    check_variables(plan, variables)
    target = plan.with_templates(templates).templates
    coefficients = dict(variables["coefficients"])
    for group in plan.groups:
        if target[group.name] == group.templates:
            continue
        if group.assignment is not None:
            raise PlanError(
                f"group {group.name!r} is folded: each layer has one template, so there is no mixture to "
                "anneal; use resize"
            )
        alpha = group_coefficients(group, variables)
        rows = jax.lax.stop_gradient(jnp.moveaxis(columns(group, mixtures(group, variables)), 2, 0))
        # The directions do not depend on the scale, and squares of scaled rows do not overflow.
        rows = rows / jnp.maximum(jnp.max(jnp.abs(rows)), np.finfo(rows.dtype).tiny)
        _, directions = jnp.linalg.eigh(jnp.matmul(rows, rows.mT, precision="highest"))
        rest = directions[:, :, : group.layers - target[group.name]]
        own = jnp.moveaxis(columns(group, alpha), 2, 0)
        gone = jnp.matmul(rest, jnp.matmul(rest.mT, own, precision="highest"), precision="highest")
        coefficients[group.name] = alpha - fraction * jnp.moveaxis(gone, 0, 2).reshape(alpha.shape)
    return {**variables, "coefficients": coefficients}
