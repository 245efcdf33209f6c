"""The nearest templates or residuals alone: truncated singular value decompositions."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from softshare_jax.sharing.group import Group
from softshare_jax.sharing.seen import EVERYTHING, Seen
from softshare_jax.sharing.weights import columns, in_float32


def principal(
    group: Group, weights: Float[Array, "L *shape"], seen: Seen = EVERYTHING
) -> tuple[Float[Array, "k *shape"], Float[Array, "L k *channel"]]:
    """Returns the best k templates of weights ``[L, *shape]``, in float32 or finer, and their coefficients.

    They are in order: the first of them are the best ones of their number. The coefficients have orthonormal
    columns, in each channel. If the rank of the weights is below k, some templates are zero and their
    coefficients are not: the gradient can then move these templates.

    Args:
        group: the group; its assignment is not used.
        weights: the weights.
        seen: what inputs see of weights, alike in all layers. Whatever they see, the best templates are
            combinations of the weights; only the choice of the combinations depends on it.
    """
    rows, visible = (jnp.moveaxis(columns(group, in_float32(w)), 2, 0) for w in (weights, seen(weights)))
    u, _, _ = jnp.linalg.svd(_padded(visible), full_matrices=False)
    best = u[:, :, : group.templates]
    return joined(group, jnp.matmul(best.mT, rows, precision=jax.lax.Precision.HIGHEST), best)


def factorize(
    group: Group, weights: Float[Array, "L *shape"], seen: Seen = EVERYTHING
) -> tuple[Float[Array, "k *shape"], Float[Array, "L k *channel"]]:
    """Returns the best k templates of weights ``[L, *shape]``, in float32 or finer, and their coefficients.

    With as many templates as layers these are the weights themselves, exact in every dtype. Otherwise the
    arguments and coefficients are those of ``principal``.
    """
    if group.templates < group.layers:
        return principal(group, weights, seen)
    exact = in_float32(weights)
    own = jnp.eye(group.layers, dtype=exact.dtype)[:, :, None]
    return exact, jnp.repeat(own, group.channels, axis=2).reshape(group.coefficients_shape)


def joined(
    group: Group, templates: Float[Array, "C k q"], coefficients: Float[Array, "C L k"]
) -> tuple[Float[Array, "k *shape"], Float[Array, "L k *channel"]]:
    """Returns templates and coefficients of channels in the shapes of the group."""
    return (
        jnp.moveaxis(templates, 0, 2).reshape(group.templates, *group.shape),
        jnp.moveaxis(coefficients, 0, 2).reshape(group.coefficients_shape),
    )


def truncate(
    group: Group, weights: Float[Array, "L *shape"], seen: Seen = EVERYTHING
) -> tuple[Float[Array, "L m r"], Float[Array, "L r n"]]:
    """Returns the best residuals of weights ``[L, *shape]``. The rows of ``right`` are orthonormal."""
    matrices, visible = (w.reshape(-1, *group.matrix) for w in (weights, seen(weights)))
    _, _, vt = jnp.linalg.svd(visible, full_matrices=False)
    right = vt[:, : group.rank]
    return jnp.matmul(matrices, right.mT, precision=jax.lax.Precision.HIGHEST), right


def multiples(
    group: Group, weights: Float[Array, "L *shape"], seen: Seen = EVERYTHING
) -> tuple[Float[Array, "k *shape"], Float[Array, "L k *channel"]]:
    """Returns the best templates of a folded group that is not tied, and their coefficients.

    Each layer is a multiple of the template that it uses. The arguments are those of ``principal``.
    """
    rows, visible = (jnp.moveaxis(columns(group, in_float32(w)), 2, 0) for w in (weights, seen(weights)))
    assert group.assignment is not None
    best = jnp.zeros((len(rows), group.layers, group.templates), rows.dtype)
    for template in set(group.assignment):
        layers = np.flatnonzero(np.equal(group.assignment, template))
        u, _, _ = jnp.linalg.svd(_padded(visible[:, layers]), full_matrices=False)
        best = best.at[:, layers, template].set(u[:, :, 0])
    return joined(group, jnp.matmul(best.mT, rows, precision=jax.lax.Precision.HIGHEST), best)


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
    # XLA:CPU allocates a [q, q] array for singular values without vectors, and an [L, q] array with them.
    return jnp.linalg.svd(_padded(rows), full_matrices=False)[1]


def _padded(rows: Float[Array, "C L q"]) -> Float[Array, "C L _"]:
    """Returns rows padded with zeros to q >= L."""
    return jnp.pad(rows, ((0, 0), (0, 0), (0, max(0, rows.shape[1] - rows.shape[2]))))
