"""Training of a folded network as a loop, so that it can run for longer than it was trained."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from softshare_jax.models.anytime import Anytime


@dataclasses.dataclass(frozen=True)
class LoopTraining:
    """Answers after the last layer and after a random one, part of the time behind a detached prefix.

    This is the progressive loss of Bansal et al. 2022 (arXiv 2202.05826). In some steps a prefix of random
    length has no gradient and only prepares a state, so the layers after it learn to continue from any state.

    Attributes:
        weight: weight of the loss after the random layer; the loss after the last layer has the rest.
        detach_rate: probability that a step detaches a prefix.
        noise: step -> standard deviation of the noise on the state after a prefix; ``None``: no noise.
        axis_name: mapped axis over which the batch is split; ``None`` for a batch in one piece.
    """

    weight: float
    detach_rate: float
    noise: optax.Schedule | None = None
    axis_name: str | None = None

    def run(
        self, network: Anytime, images: jax.Array, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the logits after the last layer, and those after a random layer of the second half.

        Args:
            network: the network, bound to its variables.
            images: ``[B, ...]``.
            key: random key of the step; equal on all devices.
            step: number of steps taken, for the schedule of the noise.
        """
        depth = network.depth
        whether, how_long, which, noisy = jax.random.split(key, 4)
        length = jax.random.randint(how_long, (), 0, depth)
        detached = jnp.where(jax.random.bernoulli(whether, self.detach_rate), length, 0)
        least = jnp.maximum(detached, depth // 2)
        after = jax.random.randint(which, (), least + 1, depth + 1)
        state = picked = network.start(images, train=True)
        # One draw a step: normal numbers for every layer would take longer than the layers.
        disturbance = 0.0 if self.noise is None else self.noise(step) * self._normal(noisy, state)
        for layer in range(depth):
            state = network.advance(layer, state, images, train=True)
            state = jnp.where(layer + 1 == detached, jax.lax.stop_gradient(state + disturbance), state)
            picked = jnp.where(layer + 1 == after, state, picked)
        return network.answer(state), network.answer(picked)

    def _normal(self, key: jax.Array, state: jax.Array) -> jax.Array:
        """Draws noise for an example's place in the global batch."""
        device = 0 if self.axis_name is None else jax.lax.axis_index(self.axis_name)
        places = device * len(state) + jnp.arange(len(state))
        draw = jax.vmap(lambda place: jax.random.normal(jax.random.fold_in(key, place), state.shape[1:]))
        return draw(places).astype(state.dtype)
