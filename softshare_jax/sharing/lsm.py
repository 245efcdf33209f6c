"""The layer similarity matrix (LSM): which layers have become the same."""

from typing import Literal

import jax
import jax.numpy as jnp

from softshare_jax.sharing.materialization import Variables, group_weights
from softshare_jax.sharing.plan import Plan

Measure = Literal["coefficients", "weights"]
MEASURES: tuple[Measure, ...] = ("coefficients", "weights")


def inner_products(coefficients: jax.Array, templates: jax.Array, measure: Measure) -> jax.Array:
    """Returns the signed inner products ``[L, L]`` between layers.

    Args:
        coefficients: ``[L, k]``.
        templates: ``[k, *shape]``.
        measure: ``'coefficients'``: <alpha_i, alpha_j>. ``'weights'``: <W_i, W_j>, of the weights as
            they are materialised. (alpha_i G alpha_j with the Gram matrix G of the templates is the same
            for less work, and loses twice the digits where the templates are badly conditioned.)

    Raises:
        ValueError: the measure is neither.
    """
    if measure not in MEASURES:
        raise ValueError(f"measure is 'coefficients' or 'weights', not {measure!r}")
    rows = coefficients if measure == "coefficients" else group_weights(coefficients, templates)
    rows = rows.reshape(len(rows), -1)
    return jnp.matmul(rows, rows.T, precision=jax.lax.Precision.HIGHEST)


def similarity(plan: Plan, variables: Variables, measure: Measure = "coefficients") -> dict[str, jax.Array]:
    """Returns the layer similarity matrix of every group: ``S_ij = |cos(layer i, layer j)|``.

    ``'coefficients'`` is the paper's measure and what its regulariser works on.
    ``'weights'`` compares the effective weights; it does not change when templates and
    coefficients are written in another basis (``T -> M^-1 T``, ``alpha -> alpha M``), which
    changes no weight but can change the first measure a lot.

    Args:
        plan: which layers share.
        variables: ``templates`` and ``coefficients``.
        measure: ``'coefficients'`` or ``'weights'``.

    Returns:
        ``{group: [L, L]}``, symmetric, from 0 to 1; a layer of zeros is similar to none.

    Raises:
        ValueError: the measure is neither of the two.
    """
    return {
        group.name: _absolute_cosines(
            inner_products(variables["coefficients"][group.name], variables["templates"][group.name], measure)
        )
        for group in plan.groups
    }


def recurrence_penalty(plan: Plan, variables: Variables) -> jax.Array:
    """Returns the sum of all entries of all coefficient LSMs, a scalar.

    The paper's recurrence regulariser subtracts lambda_R times this from the loss, which
    draws layers together until the network is a loop (SCNN-R, lambda_R = 0.01).

    The value is the paper's. The gradient of each ``|c|`` is that of ``sqrt(c^2 + 0.1^2)``: layers
    start orthogonal, so at first the sign of c, and with it the direction of the exact
    gradient, is rounding noise, and layers drawn together by random signs can freeze in
    clusters that oppose each other (docs/results.md has the figures).
    """
    total = jnp.zeros(())
    for matrix in similarity(plan, variables, "coefficients").values():
        smooth = jnp.sqrt(matrix**2 + 0.1**2)
        total += jnp.sum(smooth + jax.lax.stop_gradient(matrix - smooth))
    return total


def _absolute_cosines(products: jax.Array) -> jax.Array:
    products = (products + products.T) / 2  # symmetric to the last bit
    squares = jnp.diagonal(products)
    # A layer of zeros gets similarity 0 and gradient 0, in place of 0/0.
    nonzero = squares > 0
    scale = jnp.where(nonzero, jax.lax.rsqrt(jnp.where(nonzero, squares, 1.0)), 0.0)
    return jnp.minimum(jnp.abs(products) * (scale[:, None] * scale[None, :]), 1.0)
