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

    Attributes:
        depth: number of 3x3 blocks, all of one shape.
        channels: channels of the blocks.
        layers: makes convolutions and batch-norm.
    """

    depth: int
    channels: int
    layers: Layers = LAYERS

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images ``[B, H, W, 2]`` to logits ``[B, H, W]``.

        With ``train``, batch-norm uses the statistics of the batch and updates its running statistics in
        the collection ``batch_stats``.
        """
        x = self.layers.conv("stem", self.channels, 1, bias=True)(images)
        for i in range(self.depth):
            x = ConvBlock(self.layers, name=f"block_{i}")(x, train)
        logits = self.layers.conv("head", 1, 1, bias=True)(x)
        return logits[..., 0].astype(jnp.float32)


def architecture(depth: int, channels: int) -> Architecture:
    """Returns ``cnn-20-32``, the paper's network with twenty 3x3 blocks of 32 channels, and others.

    Shareable: all 3x3 convolutions, as one group.
    """

    def build(options: Options) -> GridCNN:
        return GridCNN(depth, channels, options.layers(he_normal))

    shareable = {"blocks": Shareable(r"block_\d+/conv/kernel", depth)}
    return Architecture(build, (32, 32, 2), shareable, classifies=False)


FAMILIES = (Family(r"cnn-(?P<depth>[1-9]\d*)-(?P<channels>[1-9]\d*)", architecture, examples=("cnn-20-32",)),)
