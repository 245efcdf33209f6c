"""Templates, coefficients and residuals of given weights."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from softshare_jax.sharing.plan import Group
from softshare_jax.sharing.weights import columns, combine, in_float32, residuals

# Templates and residuals take turns until a turn lowers the squared error by less than this fraction, or for
# this number of turns.
TOLERANCE = 1e-3
TURNS = 100


class _Turn(NamedTuple):
    """Residuals after a turn.

    Attributes:
        left, right: the residuals.
        error: squared error of the weights.
        before: squared error after the turn before.
        number: number of turns so far.
    """

    left: Float[Array, "L m r"]
    right: Float[Array, "L r n"]
    error: Float[Array, ""]
    before: Float[Array, ""]
    number: Array


def fit(group: Group, weights: Float[Array, "L *shape"]) -> dict[str, Any]:
    """Returns the arrays of a group that are nearest to given weights, by collection.

    Without residuals no other arrays are nearer. With residuals, templates and residuals take turns: each is
    the best one given the other. So the error falls with every turn, to a minimum that may be a local one.

    Args:
        group: the group.
        weights: weights of its layers, ``[L, *shape]``.
    """
    dtype, exact = weights.dtype, in_float32(weights)
    if group.tied:
        templates, coefficients = tie(group, exact)
        return {"templates": templates.astype(dtype), "coefficients": coefficients}
    if not group.rank:
        templates, coefficients = factorize(group, exact)
        return {"templates": templates.astype(dtype), "coefficients": coefficients}
    left, right = _alternate(group, exact)
    templates, coefficients = factorize(group, exact - residuals(group, left, right))
    return {
        "templates": templates.astype(dtype),
        "coefficients": coefficients,
        "residuals": {"left": left.astype(dtype), "right": right.astype(dtype)},
    }


def _alternate(
    group: Group, weights: Float[Array, "L *shape"]
) -> tuple[Float[Array, "L m r"], Float[Array, "L r n"]]:
    """Returns the residuals after the last turn."""

    def turn(last: _Turn) -> _Turn:
        templates, coefficients = factorize(group, weights - residuals(group, last.left, last.right))
        rest = weights - combine(coefficients, templates)
        left, right = truncate(group, rest)
        error = jnp.sum((rest - residuals(group, left, right)) ** 2)
        return _Turn(left, right, error, last.error, last.number + 1)

    def falls(last: _Turn) -> Array:
        return (last.number < TURNS) & (last.error < (1 - TOLERANCE) * last.before)

    m, n = group.matrix
    whole = jnp.sum(weights**2)
    first = _Turn(
        left=jnp.zeros((len(weights), m, group.rank), weights.dtype),
        right=jnp.zeros((len(weights), group.rank, n), weights.dtype),
        error=whole,
        before=jnp.full_like(whole, jnp.inf),
        number=jnp.int32(0),
    )
    last = jax.lax.while_loop(falls, turn, first)
    return last.left, last.right


def factorize(
    group: Group, weights: Float[Array, "L *shape"]
) -> tuple[Float[Array, "k *shape"], Float[Array, "L k *channel"]]:
    """Returns the best templates of weights ``[L, *shape]``, in float32 or finer, and their coefficients.

    The coefficients have orthonormal columns, in each channel. If the rank of the weights is below k, some
    templates are zero and their coefficients are not: the gradient can then move these templates.
    """
    rows = jnp.moveaxis(columns(group, in_float32(weights)), 2, 0)
    u, _, _ = jnp.linalg.svd(_padded(rows), full_matrices=False)
    best = u[:, :, : group.templates]
    templates = jnp.matmul(best.mT, rows, precision=jax.lax.Precision.HIGHEST)
    return (
        jnp.moveaxis(templates, 0, 2).reshape(group.templates, *group.shape),
        jnp.moveaxis(best, 0, 2).reshape(group.coefficients_shape),
    )


def truncate(
    group: Group, weights: Float[Array, "L *shape"]
) -> tuple[Float[Array, "L m r"], Float[Array, "L r n"]]:
    """Returns the best residuals of weights ``[L, *shape]``. The rows of ``right`` are orthonormal."""
    matrices = weights.reshape(-1, *group.matrix)
    _, _, vt = jnp.linalg.svd(matrices, full_matrices=False)
    right = vt[:, : group.rank]
    return jnp.matmul(matrices, right.mT, precision=jax.lax.Precision.HIGHEST), right


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


def singular_values(group: Group, weights: Float[Array, "L *shape"]) -> Float[Array, "C L"]:
    """Returns the singular values of the weights of each channel, ``[L, d / C]``, in descending order."""
    rows = jnp.moveaxis(columns(group, in_float32(weights)), 2, 0)
    return jnp.linalg.svd(_padded(rows), compute_uv=False)


def _padded(rows: Float[Array, "C L q"]) -> Float[Array, "C L _"]:
    """Returns rows padded with zeros to q >= L."""
    return jnp.pad(rows, ((0, 0), (0, 0), (0, max(0, rows.shape[1] - rows.shape[2]))))
