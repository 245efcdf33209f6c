"""The layer similarity matrix (LSM): which layers have become the same."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from softshare_jax.sharing.checks import check_finite, check_variables
from softshare_jax.sharing.group import Group
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.weights import (
    Variables,
    columns,
    exact_weights,
    group_coefficients,
    group_templates,
)

Measure = Literal["coefficients", "weights"]
MEASURES: tuple[Measure, ...] = ("coefficients", "weights")


def measured_columns(group: Group, variables: Variables, measure: Measure) -> Float[Array, "L _ C"]:
    """Returns what a measure compares, the columns of each layer: ``[L, k, C]`` or ``[L, q, C]``.

    Raises:
        ValueError: the measure is neither of the two.
        PlanError: a layer is not finite.
    """
    if measure not in MEASURES:
        raise ValueError(f"measure is 'coefficients' or 'weights', not {measure!r}")
    read = group_coefficients if measure == "coefficients" else exact_weights
    values = read(group, variables)
    dtype = values.dtype if measure == "coefficients" else group_templates(group, variables).dtype
    check_finite(group, values.astype(dtype), measure)
    return columns(group, values)


def similarity(
    plan: Plan, variables: Variables, measure: Measure = "weights"
) -> dict[str, Float[Array, "_ _"]]:
    """Returns the layer similarity matrix of every group: ``S_ij = |cos(layer i, layer j)|``.

    ``'weights'``, the default here and of ``fold``, compares the effective weights. It does not depend on
    the basis of the templates: ``T -> M^-1 T``, ``alpha -> alpha M`` changes no weight, and can change the
    other measure a lot. ``'coefficients'`` is the measure of the paper and of its regularizer.

    In a group with coefficients per channel it is the mean of ``|cos|`` over the channels, each with the
    product of the norms of both layers as its share. So it is 1 if the channels are parallel, whatever their
    scales and signs, as the fold of such layers is exact.

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
    return {
        group.name: _cosines(measured_columns(group, variables, measure), jnp.abs) for group in plan.groups
    }


def recurrence_penalty(plan: Plan, variables: Variables, signed: bool = False) -> Float[Array, ""]:
    """Returns the sum of all entries of all coefficient LSMs, a scalar.

    The paper's recurrence regularizer subtracts lambda_R times this sum from the loss, which
    draws layers together until the network is a loop (SCNN-R, lambda_R = 0.01).

    The value is the paper's. The gradient of each ``|c|`` is that of ``sqrt(c^2 + 0.1^2)``. Layers start
    orthogonal, so at first the sign of c is rounding noise, and so is the direction of the exact
    gradient. Layers drawn together by random signs can freeze in clusters of opposite sign
    (docs/results.md has the figures). In a group with coefficients per channel the shares of the channels are
    held constant: the gradient turns coefficients and does not change their norms.

    Args:
        plan: which layers share.
        variables: ``templates`` and ``coefficients``.
        signed: use the cosines instead of their absolute values. No clusters of opposite sign arise then,
            and a tied fold can find one loop.

    Raises:
        PlanError: the variables are not those of the plan, or a layer is not finite.
    """
    check_variables(plan, variables)
    total = jnp.zeros(())
    for group in plan.groups:
        rows = measured_columns(group, variables, "coefficients")
        total += jnp.sum(_cosines(rows, (lambda cosine: cosine) if signed else _smooth))
    return total


def _smooth(cosines: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns absolute values with the gradient of a smooth function."""
    smooth = jnp.sqrt(cosines**2 + 0.1**2)
    return smooth + jax.lax.stop_gradient(jnp.abs(cosines) - smooth)


def _cosines(
    layers: Float[Array, "L q C"], magnitude: Callable[[Float[Array, "C L L"]], Float[Array, "C L L"]]
) -> Float[Array, "L L"]:
    """Returns the mean of a function of the cosines over the channels, for layers of any scale."""
    # Layers are scaled to 1 at most, so that squares neither overflow nor vanish. A cosine does not depend
    # on the scale, and neither does its gradient.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(layers), axis=(1, 2), keepdims=True))
    rows = jnp.moveaxis(layers / jnp.where(largest > 0, largest, 1), 2, 0)
    products = jnp.matmul(rows, rows.mT, precision=jax.lax.Precision.HIGHEST)
    products = (products + products.mT) / 2  # symmetric to the last bit
    squares = jnp.diagonal(products, axis1=1, axis2=2)
    # Zeros get similarity 0 and gradient 0 instead of 0/0.
    nonzero = squares != 0
    scale = jnp.where(nonzero, jax.lax.rsqrt(jnp.where(nonzero, squares, 1.0)), 0.0)
    cosines = jnp.clip(products * (scale[:, :, None] * scale[:, None, :]), -1.0, 1.0)
    norms = jax.lax.stop_gradient(jnp.sqrt(squares))
    shares = norms[:, :, None] * norms[:, None, :]
    whole = jnp.sum(shares, axis=0, keepdims=True)
    return jnp.sum(magnitude(cosines) * (shares / jnp.where(whole > 0, whole, 1)), axis=0)
