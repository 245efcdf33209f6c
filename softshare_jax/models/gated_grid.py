"""A gated network for grids, whose layers see the input again: made to run as a loop."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.models.initializers import he_normal
from softshare_jax.models.layers import Layers
from softshare_jax.models.network import Options
from softshare_jax.models.registry import Architecture, Family, Shareable

LAYERS = Layers(he_normal)
# Added to the gate's logits: at the start a layer mostly keeps its state.
KEEP = -1.0
# Neighbors of a pixel, itself among them: all of a 3x3 square, or those that a path can come from.
SQUARE = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1))
CROSS = ((-1, 0), (0, -1), (0, 0), (0, 1), (1, 0))


class NeighborConv(nn.Module):
    """A convolution that reads a pixel and its eight or four neighbors.

    It is one matrix product of the shifted images: XLA:CPU runs its own convolutions in a compiled loop many
    times slower.

    Attributes:
        features: output channels.
        layers: dtype and initializer.
        cross: whether it reads four neighbors instead of eight.
    """

    features: int
    layers: Layers
    cross: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[B, H, W, I]`` to ``[B, H, W, features]``.

        The kernel is ``[3, 3, I, features]``, or ``[5, I, features]`` for four neighbors.
        """
        places = CROSS if self.cross else SQUARE
        shape = (len(CROSS),) if self.cross else (3, 3)
        kernel = self.param("kernel", self.layers.kernel_init, (*shape, x.shape[-1], self.features))
        x, kernel = (one.astype(self.layers.dtype) for one in (x, kernel))
        return _product(x, kernel.reshape(-1, self.features), places)


@functools.partial(jax.checkpoint, static_argnums=2)
def _product(x: jax.Array, kernel: jax.Array, places: tuple[tuple[int, int], ...]) -> jax.Array:
    """Multiplies the neighbors of each pixel, ``[B * H * W, places * I]``, by a kernel.

    The neighbors are taken again for the gradient: to keep them takes longer, and several times the memory.
    """
    batch, height, width, _ = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [x[:, 1 + row : 1 + row + height, 1 + column : 1 + column + width] for row, column in places]
    # On CPUs the product of two matrices is a third faster than that of images and a matrix.
    pixels = jnp.concatenate(shifted, axis=-1).reshape(-1, len(kernel))
    return jnp.dot(pixels, kernel).reshape(batch, height, width, -1)


class GatedLayer(nn.Module):
    """One turn of a minimal gated unit: ``(1 - g) h + g c``.

    One convolution of the state h and the input computes the gate g and the candidate c. It has no norm and
    no bias, so a layer has one weight.

    Attributes:
        layers: dtype and initializer.
        cross: whether it reads four neighbors instead of eight.
    """

    layers: Layers
    cross: bool = False

    @nn.compact
    def __call__(self, state: jax.Array, seen: jax.Array) -> jax.Array:
        """Maps a state ``[B, H, W, C]`` and the input ``[B, H, W, I]`` to the next state."""
        conv = NeighborConv(2 * state.shape[-1], self.layers, self.cross, name="conv")
        gate, candidate = jnp.split(conv(jnp.concatenate([state, seen], axis=-1)), 2, axis=-1)
        gate = nn.sigmoid(gate + KEEP)
        return (1 - gate) * state + gate * jnp.tanh(candidate)


class GatedGrid(nn.Module):
    """Keeps the resolution and predicts every pixel; each layer sees the input again ("recall").

    It can answer after any layer, because all states have the same form: ``start``, then ``advance`` layer by
    layer, then ``answer``.

    Attributes:
        depth: number of gated layers, all of one shape.
        channels: channels of the state.
        layers: makes the last convolution, and gives the others their dtype and initializer.
        cross: whether the convolutions read four neighbors instead of eight.
    """

    depth: int
    channels: int
    layers: Layers = LAYERS
    cross: bool = False

    def setup(self) -> None:
        """Makes the layers."""
        self.stem = NeighborConv(self.channels, self.layers, self.cross)
        self.layer = [GatedLayer(self.layers, self.cross) for _ in range(self.depth)]
        self.head = self.layers.conv(None, 1, 1, bias=True)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of the layers, in order."""
        return tuple(f"layer_{layer}" for layer in range(self.depth))

    def start(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images ``[B, H, W, I]`` to the first state, ``[B, H, W, C]``."""
        del train
        return jnp.tanh(self.stem(_seen(images)))

    def advance(self, layer: int, state: jax.Array, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps the state before a layer to the state after it."""
        del train
        return self.layer[layer](state, _seen(images))

    def answer(self, state: jax.Array) -> jax.Array:
        """Maps a state to logits ``[B, H, W]``."""
        return self.head(state)[..., 0].astype(jnp.float32)

    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images ``[B, H, W, I]`` to logits ``[B, H, W]``."""
        state = self.start(images, train)
        for layer in range(self.depth):
            state = self.advance(layer, state, images, train)
        return self.answer(state)


def _seen(images: jax.Array) -> jax.Array:
    """Adds a channel of ones: the padding of a convolution has zeros there, so a layer sees the border."""
    return jnp.concatenate([images, jnp.ones_like(images[..., :1])], axis=-1)


def architecture(neighbors: int | None, depth: int, channels: int) -> Architecture:
    """Returns ``gated-20-24``, with twenty layers and a state of 24 channels, and others.

    A pixel of ``gated4-20-24`` sees the four neighbors that a path on the grid can go to.

    Shareable: all layers, as one group.

    Args:
        neighbors: 4; ``None`` for eight.
        depth: number of layers.
        channels: channels of the state.
    """

    def build(options: Options) -> GatedGrid:
        return GatedGrid(depth, channels, options.layers(he_normal), cross=neighbors == 4)

    shareable = {"layers": Shareable(r"layer_\d+/conv/kernel", depth)}
    return Architecture(build, (32, 32, 2), shareable, classifies=False)


FAMILIES = (
    Family(
        r"gated(?P<neighbors>4)?-(?P<depth>[1-9]\d*)-(?P<channels>[1-9]\d*)",
        architecture,
        examples=("gated-20-24", "gated4-20-24"),
    ),
)
