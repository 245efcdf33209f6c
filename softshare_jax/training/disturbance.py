"""Disturbances of a loop in training: an answer that survives them holds for longer, and on larger inputs."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

# Part of a state by which the noise of a turn is shifted against that of the turn before. Multiples of the
# golden section keep the shifts of all turns apart.
GOLDEN = 0.618034


@dataclasses.dataclass(frozen=True)
class Disturbance:
    """What happens to the state of a loop in training, and to nothing else.

    Random numbers are drawn for an example's place in the global batch, so they do not depend on the number
    of devices. Each device has an even number of examples if neighbors of a batch, the first and second or
    third and fourth, see each other's input.

    Attributes:
        noise: step -> standard deviation of the noise on the state before each turn; ``None``: no noise.
        swap_rate: probability that two neighbors of a batch see each other's input in the prefix that has no
            gradient. The loop learns to leave a wrong state (path independence, Anil et al. 2022, arXiv
            2211.09961).
        update_rate: probability that a turn updates a place of the state. What counts turns then fails
            (stochastic updates of cells, Mordvintsev et al. 2020, "Growing Neural Cellular Automata").
        axis_name: mapped axis over which the batch is split; ``None`` for a batch in one piece.
    """

    noise: optax.Schedule | None = None
    swap_rate: float = 0.0
    update_rate: float = 1.0
    axis_name: str | None = None

    def noisy(self, key: jax.Array, step: jax.Array, state: jax.Array) -> Callable[..., jax.Array]:
        """Returns ``(state, turn) -> state with noise``, given a state ``[B, ...]`` of the same shape."""
        if self.noise is None:
            return lambda state, turn: state
        size = math.prod(state.shape[1:])
        shift = round(GOLDEN * size)
        draw = jax.vmap(lambda key: jax.random.normal(key, (size,)))
        drawn = (self.noise(step) * draw(self._keys(key, len(state)))).astype(state.dtype)
        # One draw for all turns, shifted: a draw for each turn would take longer than the layers.
        return lambda state, turn: state + jnp.roll(drawn, turn * shift, axis=1).reshape(state.shape)

    def updated(self, key: jax.Array, batch: int) -> Callable[..., jax.Array]:
        """Returns ``(state, next state, turn) -> next state``, in which some places are not updated.

        States are ``[B, ..., C]``; all channels of a place are updated or none.
        """
        if self.update_rate == 1:
            return lambda state, following, turn: following
        keys = self._keys(key, batch)

        def update(state: jax.Array, following: jax.Array, turn: jax.Array) -> jax.Array:
            places = state.shape[1:-1]
            draw = jax.vmap(
                lambda key: jax.random.bernoulli(jax.random.fold_in(key, turn), self.update_rate, places)
            )
            return jnp.where(draw(keys)[..., None], following, state)

        return update

    def swapped(self, key: jax.Array, images: jax.Array) -> jax.Array:
        """Returns images ``[B, ...]`` where some neighbors have changed places; B is even."""
        if not self.swap_rate:
            return images
        own = jnp.arange(len(images))
        draw = jax.vmap(lambda key: jax.random.bernoulli(key, self.swap_rate))
        swap = draw(self._keys(key, len(images)))[own - own % 2]
        return images[jnp.where(swap, own ^ 1, own)]

    def _keys(self, key: jax.Array, batch: int) -> jax.Array:
        """Returns a key for each example, ``[B]``."""
        device = 0 if self.axis_name is None else jax.lax.axis_index(self.axis_name)
        return jax.vmap(lambda place: jax.random.fold_in(key, place))(device * batch + jnp.arange(batch))


QUIET = Disturbance()
