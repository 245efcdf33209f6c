"""Templates and coefficients of given weights."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from softshare_jax.sharing.plan import Group
from softshare_jax.sharing.weights import columns, in_float32


def factorize(
    group: Group, weights: Float[Array, "L *shape"]
) -> tuple[Float[Array, "k *shape"], Float[Array, "L k *channel"]]:
    """Returns the best templates of weights ``[L, *shape]``, and their coefficients.

    The coefficients have orthonormal columns, in each channel. If the rank of the weights is below k, some
    templates are zero and their coefficients are not: the gradient can then move these templates.
    """
    k = group.templates
    u, s, vt = jnp.linalg.svd(rows_by_channel(group, weights), full_matrices=False)
    best = (s[:, :k, None] * vt[:, :k])[:, :, : weights[0].size // group.channels]
    templates = jnp.moveaxis(best, 0, 2).reshape(k, *weights.shape[1:]).astype(weights.dtype)
    return templates, jnp.moveaxis(u[:, :, :k], 0, 2).reshape(group.coefficients_shape)


def tie(
    group: Group, weights: Float[Array, "L *shape"]
) -> tuple[Float[Array, "k *shape"], Float[Array, "L k *channel"]]:
    """Returns the templates of a tied group, and coefficients of zeros and ones.

    A template is the mean of the weights of its layers, which is nearest to all of them.
    """
    used = np.eye(group.templates, dtype=np.float32)[list(group.assignment or ())]
    shares = (used / np.maximum(used.sum(axis=0), 1)).T
    means = jnp.tensordot(shares, in_float32(weights), 1, precision=jax.lax.Precision.HIGHEST)
    coefficients = np.repeat(used[:, :, None], group.channels, axis=2).reshape(group.coefficients_shape)
    return means.astype(weights.dtype), jnp.asarray(coefficients)


def rows_by_channel(group: Group, weights: Float[Array, "L *shape"]) -> Float[Array, "C L _"]:
    """Returns the rows of each channel, ``[C, L, q]`` in float32 or finer, padded with zeros to q >= L."""
    rows = jnp.moveaxis(columns(group, in_float32(weights)), 2, 0)
    return jnp.pad(rows, ((0, 0), (0, 0), (0, max(0, rows.shape[1] - rows.shape[2]))))
