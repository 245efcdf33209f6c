"""From unshared to shared during training."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from softshare_jax.sharing.lsm import inner_products
from softshare_jax.sharing.materialization import Variables
from softshare_jax.sharing.plan import Plan


def anneal(
    plan: Plan, variables: Variables, templates: Mapping[str, int], fraction: jax.Array | float
) -> dict[str, Any]:
    """Fades what k templates could not say out of the weights.

    Splits the weights of each group ``[L, d]`` into their best approximation of rank k and the
    rest, and takes a fraction of the rest away: at 0 nothing changes, at 1 the group has rank k and
    ``resize`` to k templates loses nothing. Only the coefficients change. Differentiable, with the
    directions of the split held, at the cost of an eigendecomposition ``[L, L]`` a group.

    Args:
        plan: groups with more templates than they shall have, as many as layers to start unshared.
        variables: ``templates``, ``coefficients`` and any others, which stay.
        templates: k to fade to, by group.
        fraction: of the rest that is gone, 0 to 1.
    """
    coefficients = dict(variables["coefficients"])
    for group in plan.groups:
        alpha = coefficients[group.name]
        products = inner_products(alpha, variables["templates"][group.name], "weights")
        _, directions = jnp.linalg.eigh(jax.lax.stop_gradient(products))
        rest = directions[:, : group.layers - templates[group.name]]
        gone = jnp.matmul(rest, jnp.matmul(rest.T, alpha, precision="highest"), precision="highest")
        coefficients[group.name] = alpha - fraction * gone
    return {**variables, "coefficients": coefficients}
