"""Training of a folded network as a loop, so that it can run for longer than it was trained."""

import dataclasses
import functools
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from softshare_jax.models.anytime import Anytime


@dataclasses.dataclass(frozen=True)
class LoopTraining:
    """Answers after the last layer and after a random one, part of the time behind a detached prefix.

    This is the progressive loss of Bansal et al. 2022 (arXiv 2202.05826). In some steps a prefix of random
    length has no gradient and only prepares a state, so the layers after it learn to continue from any state.
    With a window, a step ends after that many layers behind the prefix. A deep network then costs little more
    than a network of the window's depth, and learns to continue from states of all ages.

    Attributes:
        weight: weight of the loss after the random layer; the loss after the last layer has the rest.
        detach_rate: probability that a step detaches a prefix.
        window: most layers with a gradient; 0 for all that follow the prefix.
        noise: step -> standard deviation of the noise on the state after a prefix; ``None``: no noise.
        axis_name: mapped axis over which the batch is split; ``None`` for a batch in one piece.
    """

    weight: float
    detach_rate: float
    window: int = 0
    noise: optax.Schedule | None = None
    axis_name: str | None = None

    def run(
        self, network: Anytime, images: jax.Array, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the logits after the last layer of the step, and after a random one of its second half.

        Args:
            network: the network, bound to its variables.
            images: ``[B, ...]``.
            key: random key of the step; equal on all devices.
            step: number of steps taken, for the schedule of the noise.
        """
        depth = network.depth
        window = min(self.window, depth) or depth
        whether, how_long, which, noisy = jax.random.split(key, 4)
        length = jax.random.randint(how_long, (), 0, depth if window == depth else depth - window + 1)
        detached = jnp.where(jax.random.bernoulli(whether, self.detach_rate), length, 0)
        last = jnp.minimum(detached + window, depth)
        least = jnp.maximum(detached, last - (window + 1) // 2)
        after = jax.random.randint(which, (), least + 1, last + 1)
        state = picked = network.start(images, train=True)
        # One draw a step: normal numbers for every layer would take longer than the layers.
        disturbance = 0.0 if self.noise is None else self.noise(step) * self._normal(noisy, state)
        for layer in range(depth):
            if window == depth:
                state = _advance(layer, images, network, state)
            else:
                # A branch costs nothing unless it is taken, so a step costs as much as the layers it runs.
                ways = [functools.partial(way, layer, images) for way in (_prepare, _advance, _skip)]
                way = jnp.int32(layer >= detached) + jnp.int32(layer >= last)
                state = nn.switch(way, ways, cast(nn.Module, network), state)
            state = jnp.where(layer + 1 == detached, jax.lax.stop_gradient(state + disturbance), state)
            picked = jnp.where(layer + 1 == after, state, picked)
        return network.answer(state), network.answer(picked)

    def _normal(self, key: jax.Array, state: jax.Array) -> jax.Array:
        """Draws noise for an example's place in the global batch."""
        device = 0 if self.axis_name is None else jax.lax.axis_index(self.axis_name)
        places = device * len(state) + jnp.arange(len(state))
        draw = jax.vmap(lambda place: jax.random.normal(jax.random.fold_in(key, place), state.shape[1:]))
        return draw(places).astype(state.dtype)


def _prepare(layer: int, images: jax.Array, network: Any, state: jax.Array) -> jax.Array:
    """Runs a layer of the prefix, which has no gradient."""
    return jax.lax.stop_gradient(_advance(layer, images, network, state))


def _advance(layer: int, images: jax.Array, network: Any, state: jax.Array) -> jax.Array:
    advanced: jax.Array = network.advance(layer, state, images, train=True)
    return advanced


def _skip(layer: int, images: jax.Array, network: Any, state: jax.Array) -> jax.Array:
    del layer, images, network
    return state
