"""The residual CNN of the shortest-paths task."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.models.initializers import he_normal
from softshare_jax.models.layers import Layers
from softshare_jax.models.network import Options
from softshare_jax.models.registry import Architecture, Family, Shareable

LAYERS = Layers(he_normal)


class ConvBlock(nn.Module):
    """A 3x3 convolution, batch-norm and ReLU, with a skip connection over all three.

    Attributes:
        layers: makes the convolution and batch-norm.
    """

    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H, W, C]``."""
        y = self.layers.conv("conv", x.shape[-1], 3)(x)
        return x + nn.relu(self.layers.norm("norm", train)(y))


class GridCNN(nn.Module):
    """Keeps the resolution and predicts every pixel, as in the paper's synthetic task.

    It can answer after any block (``models.anytime``).

    Attributes:
        depth: number of 3x3 blocks, all of one shape.
        channels: channels of the blocks.
        layers: makes convolutions and batch-norm.
    """

    depth: int
    channels: int
    layers: Layers = LAYERS

    def setup(self) -> None:
        """Makes the layers."""
        self.stem = self.layers.conv(None, self.channels, 1, bias=True)
        self.block = [ConvBlock(self.layers) for _ in range(self.depth)]
        self.head = self.layers.conv(None, 1, 1, bias=True)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of the layers, in order."""
        return tuple(f"block_{layer}" for layer in range(self.depth))

    def start(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images ``[B, H, W, 2]`` to the first state, ``[B, H, W, C]``."""
        del train
        return self.stem(images)

    def advance(self, layer: int, state: jax.Array, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps the state before a block to the state after it."""
        del images
        return self.block[layer](state, train)

    def answer(self, state: jax.Array) -> jax.Array:
        """Maps a state to logits ``[B, H, W]``."""
        return self.head(state)[..., 0].astype(jnp.float32)

    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images ``[B, H, W, 2]`` to logits ``[B, H, W]``.

        With ``train``, batch-norm uses the statistics of the batch and updates its running statistics in
        the collection ``batch_stats``.
        """
        state = self.start(images, train)
        for layer in range(self.depth):
            state = self.advance(layer, state, images, train)
        return self.answer(state)


def architecture(depth: int, channels: int) -> Architecture:
    """Returns ``cnn-20-32``, the paper's network with twenty 3x3 blocks of 32 channels, and others.

    Shareable: all 3x3 convolutions, as one group.
    """

    def build(options: Options) -> GridCNN:
        return GridCNN(depth, channels, options.layers(he_normal))

    shareable = {"blocks": Shareable(r"block_\d+/conv/kernel", depth)}
    return Architecture(build, (32, 32, 2), shareable, classifies=False)


FAMILIES = (Family(r"cnn-(?P<depth>[1-9]\d*)-(?P<channels>[1-9]\d*)", architecture, examples=("cnn-20-32",)),)
