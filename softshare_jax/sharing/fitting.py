"""Templates, coefficients and residuals that are nearest to given weights."""

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
# Steps of conjugate gradients per turn. Each lowers the error, so a turn need not converge.
STEPS = 10


class Seen(NamedTuple):
    """What inputs see of weights: the error of seen weights is that of the outputs.

    Attributes:
        roots: square roots of the second moments of the inputs, ``[1, p, p]`` if all layers have the same,
            else ``[L, p, p]``; ``None`` if an error counts as much in any direction.
    """

    roots: Float[Array, "_ p p"] | None = None

    @classmethod
    def by(cls, moments: Float[Array, "_ p p"]) -> "Seen":
        """Returns what inputs with these second moments see. Singular moments are allowed."""
        values, vectors = jnp.linalg.eigh(in_float32(moments))
        scaled = vectors * jnp.sqrt(jnp.maximum(values, 0))[:, None, :]
        return cls(jnp.matmul(scaled, vectors.mT, precision="highest"))

    @property
    def mean(self) -> "Seen":
        """What the inputs of all layers together see."""
        if self.roots is None or self.alike:
            return self
        return Seen.by(jnp.mean(jnp.matmul(self.roots, self.roots, precision="highest"), 0, keepdims=True))

    def __call__(self, weights: Float[Array, "L *shape"]) -> Float[Array, "L *shape"]:
        """Returns weights ``[L, *shape]`` multiplied by the roots."""
        if self.roots is None:
            return weights
        matrices = weights.reshape(len(weights), self.roots.shape[-1], -1)
        return jnp.matmul(self.roots, matrices, precision=jax.lax.Precision.HIGHEST).reshape(weights.shape)

    @property
    def alike(self) -> bool:
        """Whether an error counts as much in every layer."""
        return self.roots is None or len(self.roots) == 1


EVERYTHING = Seen()


class _Fit(NamedTuple):
    """The arrays of a group after a number of turns.

    Attributes:
        templates, coefficients, left, right: the arrays, in float32 or finer.
        error: their squared error.
        before: the squared error after the turn before.
        turns: the number of turns.
    """

    templates: Float[Array, "k *shape"]
    coefficients: Float[Array, "L k *channel"]
    left: Float[Array, "L m r"]
    right: Float[Array, "L r n"]
    error: Float[Array, ""]
    before: Float[Array, ""]
    turns: Array


def fit(group: Group, weights: Float[Array, "L *shape"], seen: Seen = EVERYTHING) -> dict[str, Any]:
    """Returns the arrays of a group that are nearest to given weights, by collection.

    Without residuals, and if errors count alike in all layers, no other arrays are nearer. Otherwise the
    arrays take turns: each is improved given the others, so the error falls with every turn, to a minimum
    that may be a local one.

    Args:
        group: the group.
        weights: weights of its layers, ``[L, *shape]``.
        seen: how much errors count. The mean of the layers of a tied group does not depend on it.
    """
    dtype, exact = weights.dtype, in_float32(weights)
    if group.tied:
        templates, coefficients = tie(group, exact)
        return {"templates": templates.astype(dtype), "coefficients": coefficients}
    found = _start(group, exact, seen)
    if group.rank or not seen.alike:
        found = jax.lax.while_loop(
            lambda last: (last.turns < TURNS) & (last.error < (1 - TOLERANCE) * last.before),
            lambda last: _turn(group, exact, seen, last),
            found,
        )
    arrays = {"templates": found.templates.astype(dtype), "coefficients": found.coefficients}
    if not group.rank:
        return arrays
    return {**arrays, "residuals": {"left": found.left.astype(dtype), "right": found.right.astype(dtype)}}


def _start(group: Group, weights: Float[Array, "L *shape"], seen: Seen) -> _Fit:
    """Returns the best templates, with residuals of zero."""
    templates, coefficients = factorize(group, weights, seen.mean)
    error = jnp.sum(seen(weights - combine(coefficients, templates)) ** 2)
    m, n = group.matrix
    return _Fit(
        templates,
        coefficients,
        left=jnp.zeros((len(weights), m, group.rank), weights.dtype),
        right=jnp.zeros((len(weights), group.rank, n), weights.dtype),
        error=error,
        before=jnp.full_like(error, jnp.inf),
        turns=jnp.int32(0),
    )


def _turn(group: Group, weights: Float[Array, "L *shape"], seen: Seen, last: _Fit) -> _Fit:
    left, right = last.left, last.right
    if group.rank:
        left, right = truncate(group, weights - combine(last.coefficients, last.templates), seen)
    target = weights - residuals(group, left, right)
    if seen.alike:
        templates, coefficients = factorize(group, target, seen)
    else:
        templates, coefficients = _improve(group, target, seen, last.templates, last.coefficients)
    error = jnp.sum(seen(target - combine(coefficients, templates)) ** 2)
    return _Fit(templates, coefficients, left, right, error, last.error, last.turns + 1)


def factorize(
    group: Group, weights: Float[Array, "L *shape"], seen: Seen = EVERYTHING
) -> tuple[Float[Array, "k *shape"], Float[Array, "L k *channel"]]:
    """Returns the best templates of weights ``[L, *shape]``, in float32 or finer, and their coefficients.

    The coefficients have orthonormal columns, in each channel. If the rank of the weights is below k, some
    templates are zero and their coefficients are not: the gradient can then move these templates.

    Args:
        group: the group.
        weights: the weights.
        seen: how much errors count, alike in all layers. The best templates are then combinations of the
            weights themselves, whatever counts: only the choice of these combinations depends on it.
    """
    rows, visible = (jnp.moveaxis(columns(group, in_float32(w)), 2, 0) for w in (weights, seen(weights)))
    u, _, _ = jnp.linalg.svd(_padded(visible), full_matrices=False)
    best = u[:, :, : group.templates]
    templates = jnp.matmul(best.mT, rows, precision=jax.lax.Precision.HIGHEST)
    return _joined(group, templates, best)


def _joined(
    group: Group, templates: Float[Array, "C k q"], coefficients: Float[Array, "C L k"]
) -> tuple[Float[Array, "k *shape"], Float[Array, "L k *channel"]]:
    """Returns templates and coefficients of channels in the shapes of the group."""
    return (
        jnp.moveaxis(templates, 0, 2).reshape(group.templates, *group.shape),
        jnp.moveaxis(coefficients, 0, 2).reshape(group.coefficients_shape),
    )


def _improve(
    group: Group,
    weights: Float[Array, "L *shape"],
    seen: Seen,
    templates: Float[Array, "k *shape"],
    coefficients: Float[Array, "L k *channel"],
) -> tuple[Float[Array, "k *shape"], Float[Array, "L k *channel"]]:
    """Lowers the error of templates and coefficients where errors count differently in each layer.

    No singular value decomposition solves this. The error is quadratic in the templates: conjugate
    gradients lower it. Then the coefficients are the best ones for these templates.
    """

    def slope(templates: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
        half_error = lambda t: jnp.sum(seen(combine(coefficients, t) - weights) ** 2) / 2  # noqa: E731
        found: Float[Array, "k *shape"] = jax.grad(half_error)(templates)
        return found

    constant = slope(jnp.zeros_like(templates))
    templates, _ = jax.scipy.sparse.linalg.cg(
        lambda t: slope(t) - constant, -constant, templates, maxiter=STEPS
    )
    # [L, k, q, C]: what each layer sees of each template.
    alone = jax.vmap(lambda t: columns(group, seen(jnp.broadcast_to(t, weights.shape))), out_axes=1)
    visible = alone(templates)
    by_channel = jnp.moveaxis(visible, 3, 1)
    target = jnp.moveaxis(columns(group, seen(weights)), 2, 1)
    products = jnp.einsum("lckq,lcjq->lckj", by_channel, by_channel, precision="highest")
    wanted = jnp.einsum("lckq,lcq->lck", by_channel, target, precision="highest")
    best = jnp.matmul(jnp.linalg.pinv(products, hermitian=True), wanted[..., None], precision="highest")
    orthonormal, change = jnp.linalg.qr(jnp.moveaxis(best[..., 0], 1, 0))
    rows = jnp.moveaxis(columns(group, templates), 2, 0)
    return _joined(group, jnp.matmul(change, rows, precision="highest"), orthonormal)


def truncate(
    group: Group, weights: Float[Array, "L *shape"], seen: Seen = EVERYTHING
) -> tuple[Float[Array, "L m r"], Float[Array, "L r n"]]:
    """Returns the best residuals of weights ``[L, *shape]``. The rows of ``right`` are orthonormal."""
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
    return jnp.linalg.svd(_padded(rows), compute_uv=False)


def _padded(rows: Float[Array, "C L q"]) -> Float[Array, "C L _"]:
    """Returns rows padded with zeros to q >= L."""
    return jnp.pad(rows, ((0, 0), (0, 0), (0, max(0, rows.shape[1] - rows.shape[2]))))
