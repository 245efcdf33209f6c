"""A gated network for grids, whose layers see the input again: made to run as a loop."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.models.initializers import he_normal
from softshare_jax.models.layers import Layers
from softshare_jax.models.network import Options
from softshare_jax.models.registry import Architecture, Family, Shareable
from softshare_jax.ops.dense_convolution import by_xla
from softshare_jax.ops.patches import patches, product

LAYERS = Layers(he_normal)
# Added to the gate's logits: at the start a layer mostly keeps its state.
KEEP = -1.0
# A pixel and its four neighbors, among the nine of a 3x3 kernel.
CROSS = (1, 3, 4, 5, 7)


class CrossConv(nn.Module):
    """A convolution that reads a pixel and its four neighbors: a 3x3 kernel without its corners.

    Attributes:
        features: output channels.
        layers: dtype, initializer, and the implementation: XLA's convolution of a square kernel, whose
            corners are zeros, or for any other one a matrix product of five patches.
    """

    features: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[B, H, W, I]`` to ``[B, H, W, features]``; the kernel is ``[5, I, features]``."""
        kernel = self.param("kernel", self.layers.kernel_init, (len(CROSS), x.shape[-1], self.features))
        x, kernel = (one.astype(self.layers.dtype) for one in (x, kernel))
        if self.layers.convolution is not jax.lax.conv_general_dilated:
            return _by_patches(x, kernel)
        # Padded to the places of CROSS: an exported network would hold an array of zeros for each layer.
        corners = ((1, 1), (0, 0), (0, 0))
        square = jnp.concatenate([jnp.pad(kernel[:1], corners), kernel[1:4], jnp.pad(kernel[4:], corners)])
        return by_xla(x, square.reshape(3, 3, *kernel.shape[1:]), (1, 1), ((1, 1), (1, 1)))


# As in ops.patches: made again for the gradient.
@jax.checkpoint
def _by_patches(x: jax.Array, kernel: jax.Array) -> jax.Array:
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    square = patches(padded, (3, 3), (1, 1))
    return product([square[place] for place in CROSS], kernel)


class GatedLayer(nn.Module):
    """One turn of a minimal gated unit: ``(1 - g) h + g c``.

    One convolution of the state h and the input computes the gate g and the candidate c. It has no norm and
    no bias, so a layer has one weight.

    Attributes:
        layers: makes the convolution.
        cross: whether it reads four neighbors instead of eight.
    """

    layers: Layers
    cross: bool = False

    @nn.compact
    def __call__(self, state: jax.Array, seen: jax.Array) -> jax.Array:
        """Maps a state ``[B, H, W, C]`` and the input ``[B, H, W, I]`` to the next state."""
        features = 2 * state.shape[-1]
        if self.cross:
            conv: nn.Module = CrossConv(features, self.layers, name="conv")
        else:
            conv = self.layers.conv("conv", features, 3)
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
        layers: makes convolutions.
        cross: whether the convolutions read four neighbors instead of eight.
    """

    depth: int
    channels: int
    layers: Layers = LAYERS
    cross: bool = False

    def setup(self) -> None:
        """Makes the layers."""
        self.stem = (
            CrossConv(self.channels, self.layers) if self.cross else self.layers.conv(None, self.channels, 3)
        )
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
