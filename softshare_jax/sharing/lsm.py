"""The layer similarity matrix (LSM): which layers have become the same."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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


def measured_rows(group: Group, variables: Variables, measure: Measure) -> Float[Array, "L _"]:
    """Returns the vectors that a measure compares, one per layer: ``[L, k]`` or ``[L, d]``.

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


def similarity(
    plan: Plan, variables: Variables, measure: Measure = "weights"
) -> dict[str, Float[Array, "_ _"]]:
    """Returns the layer similarity matrix of every group: ``S_ij = |cos(layer i, layer j)|``.

    ``'weights'``, the default here and of ``fold``, compares the effective weights. It does not depend on
    the basis of the templates: ``T -> M^-1 T``, ``alpha -> alpha M`` changes no weight, and can change the
    other measure a lot. ``'coefficients'`` is the measure of the paper and of its regularizer.

    Args:
        plan: which layers share.
        variables: ``templates`` and ``coefficients``.
        measure: ``'weights'`` or ``'coefficients'``.

    Returns:
        ``{group: [L, L]}``, symmetric, from 0 to 1, in float32 or finer. A layer of zeros has similarity 0.

    Raises:
        PlanError: the variables are not those of the plan, or a layer is not finite. Under ``jit`` values
            are unknown, and the similarities of such a layer are NaN.
        ValueError: the measure is neither of the two.
    """
    check_variables(plan, variables)
    return {group.name: _cosines(measured_rows(group, variables, measure)) for group in plan.groups}


def recurrence_penalty(plan: Plan, variables: Variables, signed: bool = False) -> Float[Array, ""]:
    """Returns the sum of all entries of all coefficient LSMs, a scalar.

    The paper's recurrence regularizer subtracts lambda_R times this sum from the loss, which
    draws layers together until the network is a loop (SCNN-R, lambda_R = 0.01).

    The value is the paper's. The gradient of each ``|c|`` is that of ``sqrt(c^2 + 0.1^2)``. Layers start
    orthogonal, so at first the sign of c is rounding noise, and so is the direction of the exact
    gradient. Layers drawn together by random signs can freeze in clusters of opposite sign
    (docs/results.md has the figures).

    Args:
        plan: which layers share.
        variables: ``templates`` and ``coefficients``.
        signed: use the cosines instead of their absolute values. No clusters of opposite sign arise then,
            and a tied fold finds one loop.

    Raises:
        PlanError: the variables are not those of the plan, or a layer is not finite.
    """
    total = jnp.zeros(())
    if signed:
        check_variables(plan, variables)
        for group in plan.groups:
            total += jnp.sum(_signed_cosines(measured_rows(group, variables, "coefficients")))
        return total
    for matrix in similarity(plan, variables, "coefficients").values():
        smooth = jnp.sqrt(matrix**2 + 0.1**2)
        total += jnp.sum(smooth + jax.lax.stop_gradient(matrix - smooth))
    return total


def _cosines(rows: Float[Array, "L d"]) -> Float[Array, "L L"]:
    """Returns the absolute cosines between rows of any scale."""
    return jnp.abs(_signed_cosines(rows))


def _signed_cosines(rows: Float[Array, "L d"]) -> Float[Array, "L L"]:
    """Returns the cosines between rows of any scale."""
    # Rows are scaled to 1 at most, so that squares neither overflow nor vanish. A cosine does not depend
    # on the scale, and neither does its gradient.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(rows), axis=1, keepdims=True))
    rows = rows / jnp.where(largest > 0, largest, 1)
    products = jnp.matmul(rows, rows.T, precision=jax.lax.Precision.HIGHEST)
    products = (products + products.T) / 2  # symmetric to the last bit
    squares = jnp.diagonal(products)
    # A layer of zeros gets similarity 0 and gradient 0 instead of 0/0.
    nonzero = squares != 0
    scale = jnp.where(nonzero, jax.lax.rsqrt(jnp.where(nonzero, squares, 1.0)), 0.0)
    return jnp.clip(products * (scale[:, None] * scale[None, :]), -1.0, 1.0)
