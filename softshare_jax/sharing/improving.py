"""Better templates and coefficients where the inputs of each layer see differently."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from softshare_jax.sharing.factors import joined
from softshare_jax.sharing.group import Group
from softshare_jax.sharing.seen import Seen, multiplied
from softshare_jax.sharing.weights import columns, combine

# Steps of conjugate gradients. Each lowers the error, so a turn need not converge.
STEPS = 3
# The preconditioner leaves out directions with less than this fraction of the largest variance of inputs.
CUTOFF = 1e-6
# (weights, templates, coefficients) -> (templates, coefficients)
Improvement = Callable[[Array, Array, Array], tuple[Array, Array]]


def improvement(group: Group, seen: Seen) -> Improvement:
    """Returns a function that lowers the error of templates and coefficients.

    No singular value decomposition finds the best ones. The error is quadratic in the templates: conjugate
    gradients lower it, with the mean moment as the preconditioner. Then the coefficients are the best ones
    for these templates, and both are written with orthonormal columns of coefficients.

    Args:
        group: the group.
        seen: what the inputs of each layer see.
    """
    moments = seen.moments
    inverse = jnp.linalg.pinv(jnp.mean(moments, axis=0, keepdims=True), CUTOFF, hermitian=True)

    def improved(
        weights: Float[Array, "L *shape"],
        templates: Float[Array, "k *shape"],
        coefficients: Float[Array, "L k *channel"],
    ) -> tuple[Array, Array]:
        mix = functools.partial(combine, coefficients)
        transposed: Callable[[Array], tuple[Array]] = jax.vjp(mix, templates)[1]

        def slope(templates: Array) -> Array:
            return transposed(multiplied(moments, mix(templates)))[0]

        (wanted,) = transposed(multiplied(moments, weights))
        solve: Callable[..., tuple[Array, Any]] = jax.scipy.sparse.linalg.cg
        better, _ = solve(slope, wanted, templates, maxiter=STEPS, M=functools.partial(multiplied, inverse))
        best = _best_coefficients(group, weights, seen, better)
        orthonormal, change = jnp.linalg.qr(best)
        rows = jnp.moveaxis(columns(group, better), 2, 0)
        return joined(group, jnp.matmul(change, rows, precision=jax.lax.Precision.HIGHEST), orthonormal)

    return improved


def _best_coefficients(
    group: Group, weights: Float[Array, "L *shape"], seen: Seen, templates: Float[Array, "k *shape"]
) -> Float[Array, "C L k"]:
    """Returns the best coefficients for given templates, by least squares."""

    def of_all_layers(template: Float[Array, "*shape"]) -> Array:
        return columns(group, seen(jnp.broadcast_to(template, weights.shape)))

    # What the inputs of each layer see of each template, [L, C, k, q], and of the layer itself.
    visible = jnp.moveaxis(jax.vmap(of_all_layers)(templates), (0, 3), (2, 1))
    target = jnp.moveaxis(columns(group, seen(weights)), 2, 1)
    products = jnp.matmul(visible, visible.mT, precision=jax.lax.Precision.HIGHEST)
    wanted = jnp.matmul(visible, target[..., None], precision=jax.lax.Precision.HIGHEST)
    best = jnp.matmul(jnp.linalg.pinv(products, hermitian=True), wanted, precision="highest")
    return jnp.moveaxis(best[..., 0], 1, 0)
