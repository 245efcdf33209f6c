"""The nearest templates or residuals alone: truncated singular value decompositions."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from softshare_jax.sharing.plan import Group
from softshare_jax.sharing.seen import EVERYTHING, Seen
from softshare_jax.sharing.weights import columns, in_float32


def factorize(
    group: Group, weights: Float[Array, "L *shape"], seen: Seen = EVERYTHING
) -> tuple[Float[Array, "k *shape"], Float[Array, "L k *channel"]]:
    """Returns the best templates of weights ``[L, *shape]``, in float32 or finer, and their coefficients.

    The coefficients have orthonormal columns, in each channel. If the rank of the weights is below k, some
    templates are zero and their coefficients are not: the gradient can then move these templates. In a folded
    group each layer is a multiple of its template.

    Args:
        group: the group.
        weights: the weights.
        seen: what inputs see of weights, alike in all layers. Whatever they see, the best templates are
            combinations of the weights; only the choice of the combinations depends on it.
    """
    rows, visible = (jnp.moveaxis(columns(group, in_float32(w)), 2, 0) for w in (weights, seen(weights)))
    if group.assignment is not None:
        best = jnp.zeros((len(rows), group.layers, group.templates), rows.dtype)
        for template in set(group.assignment):
            layers = np.flatnonzero(np.equal(group.assignment, template))
            best = best.at[:, layers, template].set(_directions(visible[:, layers])[:, :, 0])
    elif group.templates == group.layers:
        # The weights themselves, exact in every dtype.
        best = jnp.broadcast_to(jnp.eye(group.layers, dtype=rows.dtype), (len(rows), *[group.layers] * 2))
    else:
        best = _directions(visible)[:, :, : group.templates]
    templates = jnp.matmul(best.mT, rows, precision=jax.lax.Precision.HIGHEST)
    return joined(group, templates, best)


def _directions(rows: Float[Array, "C L q"]) -> Float[Array, "C L L"]:
    """Returns the left singular vectors of each channel, by descending singular value."""
    return jnp.linalg.svd(_padded(rows), full_matrices=False)[0]


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
    """Returns the best residuals of weights ``[L, *shape]``, ``(left, right)``.

    The rows of ``right`` are orthonormal.
    """
    matrices, visible = (w.reshape(-1, *group.matrix) for w in (weights, seen(weights)))
    _, _, vt = jnp.linalg.svd(visible, full_matrices=False)
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
    # XLA:CPU allocates a [q, q] array for singular values without vectors, and an [L, q] array with them.
    return jnp.linalg.svd(_padded(rows), full_matrices=False)[1]


def _padded(rows: Float[Array, "C L q"]) -> Float[Array, "C L _"]:
    """Returns rows padded with zeros to q >= L."""
    return jnp.pad(rows, ((0, 0), (0, 0), (0, max(0, rows.shape[1] - rows.shape[2]))))
