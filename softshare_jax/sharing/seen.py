"""What the inputs of layers see of weights: the errors that change outputs."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.group import Group
from softshare_jax.sharing.weights import in_float32


class Seen(NamedTuple):
    """Multiplies weights so that their squared norm is that of the outputs.

    Attributes:
        roots: square roots of the second moments of the inputs, ``[1, p, p]`` if all layers have the same,
            else ``[L, p, p]``; ``None`` if errors count alike in all directions.
    """

    roots: Float[Array, "_ p p"] | None = None

    @classmethod
    def by(cls, moments: Float[Array, "_ p p"]) -> "Seen":
        """Returns what inputs with these second moments see. Singular moments are allowed."""
        values, vectors = jnp.linalg.eigh(moments)
        scaled = vectors * jnp.sqrt(jnp.maximum(values, 0))[:, None, :]
        return cls(jnp.matmul(scaled, vectors.mT, precision=jax.lax.Precision.HIGHEST))

    def __call__(self, weights: Float[Array, "L *shape"]) -> Float[Array, "L *shape"]:
        """Returns what is seen of weights ``[L, *shape]``."""
        return weights if self.roots is None else multiplied(self.roots, weights)

    @property
    def alike(self) -> bool:
        """Whether the inputs of all layers see alike."""
        return self.roots is None or len(self.roots) == 1

    @property
    def moments(self) -> Float[Array, "_ p p"]:
        """The second moments."""
        assert self.roots is not None
        return jnp.matmul(self.roots, self.roots, precision=jax.lax.Precision.HIGHEST)

    @property
    def mean(self) -> "Seen":
        """What the inputs of all layers together see."""
        return self if self.alike else Seen.by(jnp.mean(self.moments, axis=0, keepdims=True))


EVERYTHING = Seen()


def multiplied(
    matrices: Float[Array, "_ p p"], weights: Float[Array, "_ *shape"]
) -> Float[Array, "_ *shape"]:
    """Returns weights ``[n, *shape]``, as matrices ``[p, ...]``, multiplied by matrices from the left.

    The result has the dtype of the weights.
    """
    rows = weights.reshape(len(weights), matrices.shape[-1], -1)
    products = jnp.matmul(matrices, rows, precision=jax.lax.Precision.HIGHEST)
    return products.reshape(weights.shape).astype(weights.dtype)


def seen_by(group: Group, moments: Mapping[str, Any]) -> Seen:
    """Returns what inputs with given moments see of a group; everything if the group has none.

    Args:
        group: the group.
        moments: ``{group: [p, p]}`` or ``{group: [L, p, p]}``.

    Raises:
        PlanError: the moments do not fit the weights of the group, or are not finite.
    """
    if group.name not in moments:
        return EVERYTHING
    given = in_float32(jnp.asarray(moments[group.name]))
    given = given[None] if given.ndim == 2 else given
    sizes = [math.prod(group.shape[:axis]) for axis in range(1, len(group.shape))]
    if given.shape not in [(number, p, p) for p in sizes for number in (1, group.layers)]:
        allowed = " or ".join(f"[{p}, {p}]" for p in sorted(set(sizes))) or "none"
        raise PlanError(
            f"the moments of group {group.name!r} have shape {jnp.shape(moments[group.name])}: weights of "
            f"shape {group.shape} need {allowed}, for all layers or for each of {group.layers}"
        )
    if not isinstance(given, jax.core.Tracer) and not jnp.isfinite(given).all():
        raise PlanError(f"the moments of group {group.name!r} are not finite")
    return Seen.by(given)
