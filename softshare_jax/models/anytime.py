"""Networks that can answer after any of their layers."""

from collections.abc import Collection
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp


@runtime_checkable
class Anytime(Protocol):
    """A network whose layers map a state to a state of the same form, so that it can answer after any layer.

    Attributes:
        depth: number of these layers.
        layer_names: names of their variables in each collection; the layers differ in nothing else.
    """

    depth: int

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of the layers, in order."""

    def start(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images to the first state."""

    def advance(self, layer: int, state: jax.Array, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps the state before a layer, counted from 0, to the state after it."""

    def answer(self, state: jax.Array) -> jax.Array:
        """Maps a state to logits."""


def answers(network: Anytime, images: jax.Array, layers: Collection[int]) -> jax.Array:
    """Returns the logits after each of these numbers of layers, ``[N, B, ...]``, in ascending order.

    Use it as a method of a linen module: ``network.apply(variables, images, (10, 20), method=answers)``.

    Args:
        network: the network, bound to its variables.
        images: as its call takes them.
        layers: numbers of layers, from 0 to its depth; the layers after the largest do not run.
    """
    state, found = network.start(images), []
    for layer in range(max(layers) + 1):
        if layer in layers:
            found.append(network.answer(state))
        if layer < max(layers):
            state = network.advance(layer, state, images)
    return jnp.stack(found)
