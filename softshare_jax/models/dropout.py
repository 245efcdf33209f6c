"""Dropout whose masks do not depend on how a batch is split over devices."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Dropout(nn.Module):
    """Zeroes numbers with probability ``rate`` and scales up the others.

    The mask of an example is a function of the key and of the example's place in the global batch. (That
    of ``nn.Dropout`` is drawn for the batch that a device sees, so all devices would draw the same.)

    >>> import jax, jax.numpy as jnp
    >>> whole = Dropout(0.5).apply({}, jnp.ones((4, 3)), True, rngs={"dropout": jax.random.key(0)})
    >>> part = Dropout(0.5).apply({}, jnp.ones((2, 3)), True, rngs={"dropout": jax.random.key(0)})
    >>> bool((whole[:2] == part).all())
    True

    Attributes:
        rate: from 0 to below 1.
        axis_name: the mapped axis over which the batch is split; ``None`` for a batch in one piece.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, ...]`` to ``[B, ...]``; the identity unless ``train``."""
        if not train or not self.rate:
            return x
        device = 0 if self.axis_name is None else jax.lax.axis_index(self.axis_name)
        places = device * len(x) + jnp.arange(len(x))
        keep, key = 1 - self.rate, self.make_rng("dropout")

        def draw(place: jax.Array) -> jax.Array:
            return jax.random.bernoulli(jax.random.fold_in(key, place), keep, x.shape[1:])

        return jnp.where(jax.vmap(draw)(places), x / keep, 0)
