"""The layer similarity matrix (LSM): which layers have become the same."""

from typing import Literal

import jax
import jax.numpy as jnp

from softshare_jax.sharing.checks import check_finite, check_variables
from softshare_jax.sharing.materialization import (
    Variables,
    group_coefficients,
    group_rows,
    group_templates,
)
from softshare_jax.sharing.plan import Group, Plan

Measure = Literal["coefficients", "weights"]
MEASURES: tuple[Measure, ...] = ("coefficients", "weights")


def measured_rows(group: Group, variables: Variables, measure: Measure) -> jax.Array:
    """Returns the vectors that a measure compares, one a layer: ``[L, k]`` or ``[L, d]``.

    Raises:
        ValueError: the measure is neither of the two.
        PlanError: a layer is not finite.
    """
    if measure not in MEASURES:
        raise ValueError(f"measure is 'coefficients' or 'weights', not {measure!r}")
    read = group_coefficients if measure == "coefficients" else group_rows
    rows = read(group, variables)
    dtype = rows.dtype if measure == "coefficients" else group_templates(group, variables).dtype
    check_finite(group, rows.astype(dtype), measure)
    return rows


def similarity(plan: Plan, variables: Variables, measure: Measure = "weights") -> dict[str, jax.Array]:
    """Returns the layer similarity matrix of every group: ``S_ij = |cos(layer i, layer j)|``.

    ``'weights'``, the default here and of ``fold``, compares the effective weights; it does not change
    when templates and coefficients are written in another basis (``T -> M^-1 T``, ``alpha -> alpha M``),
    which changes no weight but can change the other measure a lot. ``'coefficients'`` is the paper's
    measure and what its regularizer works on.

    Args:
        plan: which layers share.
        variables: ``templates`` and ``coefficients``.
        measure: ``'weights'`` or ``'coefficients'``.

    Returns:
        ``{group: [L, L]}``, symmetric, from 0 to 1, in float32 or finer; a layer of zeros is similar
        to none.

    Raises:
        PlanError: the variables are not those of the plan, or a layer is not finite. Under ``jit`` values
            are unknown, and such a layer has similarities that are NaN.
        ValueError: the measure is neither of the two.
    """
    check_variables(plan, variables)
    return {group.name: _cosines(measured_rows(group, variables, measure)) for group in plan.groups}


def recurrence_penalty(plan: Plan, variables: Variables) -> jax.Array:
    """Returns the sum of all entries of all coefficient LSMs, a scalar.

    The paper's recurrence regularizer subtracts lambda_R times this from the loss, which
    draws layers together until the network is a loop (SCNN-R, lambda_R = 0.01).

    The value is the paper's. The gradient of each ``|c|`` is that of ``sqrt(c^2 + 0.1^2)``: layers
    start orthogonal, so at first the sign of c, and with it the direction of the exact
    gradient, is rounding noise, and layers drawn together by random signs can freeze in
    clusters that oppose each other (docs/results.md has the figures).

    Raises:
        PlanError: the variables are not those of the plan, or a layer is not finite.
    """
    total = jnp.zeros(())
    for matrix in similarity(plan, variables, "coefficients").values():
        smooth = jnp.sqrt(matrix**2 + 0.1**2)
        total += jnp.sum(smooth + jax.lax.stop_gradient(matrix - smooth))
    return total


def _cosines(rows: jax.Array) -> jax.Array:
    """Returns the absolute cosines ``[L, L]`` between rows ``[L, d]`` of any size."""
    # Scaled to 1 at most, rows of any size have squares that neither overflow nor vanish. A cosine
    # does not depend on the scale, so neither does its gradient.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(rows), axis=1, keepdims=True))
    rows = rows / jnp.where(largest > 0, largest, 1)
    products = jnp.matmul(rows, rows.T, precision=jax.lax.Precision.HIGHEST)
    products = (products + products.T) / 2  # symmetric to the last bit
    squares = jnp.diagonal(products)
    # A layer of zeros gets similarity 0 and gradient 0, in place of 0/0.
    nonzero = squares != 0
    scale = jnp.where(nonzero, jax.lax.rsqrt(jnp.where(nonzero, squares, 1.0)), 0.0)
    return jnp.minimum(jnp.abs(products) * (scale[:, None] * scale[None, :]), 1.0)
