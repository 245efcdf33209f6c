"""Dropout and drop-path with masks that do not depend on how a batch is split over devices."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Dropout(nn.Module):
    """Zeroes numbers with probability ``rate`` and scales up the others.

    The mask of an example is a function of the key and of the example's place in the global batch.
    (``nn.Dropout`` draws the mask for the batch of one device, so all devices would draw the same mask.)

    >>> import jax, jax.numpy as jnp
    >>> whole = Dropout(0.5).apply({}, jnp.ones((4, 3)), True, rngs={"dropout": jax.random.key(0)})
    >>> part = Dropout(0.5).apply({}, jnp.ones((2, 3)), True, rngs={"dropout": jax.random.key(0)})
    >>> bool((whole[:2] == part).all())
    True

    Attributes:
        rate: probability in [0, 1).
        axis_name: mapped axis over which the batch is split; ``None`` for a batch in one piece.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, ...]`` to ``[B, ...]``; the identity unless ``train``."""
        if not train or not self.rate:
            return x
        key = self.make_rng("dropout")
        return _drop(x, self.rate, key, x.shape[1:], self.axis_name)


class DropPath(nn.Module):
    """Zeroes whole examples and scales up the others; draws masks as ``Dropout`` does.

    Attributes:
        axis_name: mapped axis over which the batch is split; ``None`` for a batch in one piece.
    """

    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, rate: float | jax.Array) -> jax.Array:
        """Maps ``[B, ...]`` to ``[B, ...]``; the identity unless ``train``.

        Args:
            x: examples.
            train: whether to drop examples.
            rate: probability in [0, 1). Nothing is drawn if it is the Python number 0.
        """
        if not train or (isinstance(rate, float) and not rate):
            return x
        return _drop(x, rate, self.make_rng("dropout"), (1,) * (x.ndim - 1), self.axis_name)


def _drop(
    x: jax.Array, rate: float | jax.Array, key: jax.Array, shape: tuple[int, ...], axis_name: str | None
) -> jax.Array:
    """Drops numbers of ``x``. The mask of one example has the given shape, and broadcasts to it."""
    device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
    places = device * len(x) + jnp.arange(len(x))
    keep = 1 - rate

    def draw(place: jax.Array) -> jax.Array:
        return jax.random.bernoulli(jax.random.fold_in(key, place), keep, shape)

    return jnp.where(jax.vmap(draw)(places), (x / keep).astype(x.dtype), 0)
