"""DenseNet-BC for ImageNet (Huang et al. 2017, arXiv 1608.06993), as torchvision has it."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.models.layers import Layers

GROWTH, STEM = 32, 64
# Channels of a layer's 1x1 convolution over the growth.
BOTTLENECK = 4


class DenseLayer(nn.Module):
    """BN-ReLU-1x1-BN-ReLU-3x3, whose output is appended to its input.

    Attributes:
        layers: what it is made of.
    """

    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H, W, C + 32]``."""
        y = nn.relu(self.layers.norm("norm1", train)(x))
        y = self.layers.conv("conv1", BOTTLENECK * GROWTH, 1)(y)
        y = nn.relu(self.layers.norm("norm2", train)(y))
        y = self.layers.conv("conv2", GROWTH, 3)(y)
        return jnp.concatenate([x, y], axis=-1)


class DenseNet(nn.Module):
    """A stem, dense blocks with transitions between them, global average pooling, a linear classifier.

    A transition halves channels and resolution. No two 1x1 convolutions of a block have one shape, all
    its 3x3 convolutions, ``block_1/layer_0/conv2/kernel`` ``[3, 3, 128, 32]`` and so on, have.

    Attributes:
        blocks: layers of each block.
        num_classes: logits.
        layers: what it is made of.
    """

    blocks: tuple[int, ...]
    num_classes: int
    layers: Layers

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps normalised images ``[B, H, W, 3]`` to logits ``[B, num_classes]``.

        With ``train`` batch-norm takes the statistics of the batch and updates its running ones,
        in the collection ``batch_stats``.
        """
        x = self.layers.stem(images, train, STEM)
        for i, number in enumerate(self.blocks):
            if i:
                x = nn.relu(self.layers.norm(f"transition_{i}_norm", train)(x))
                x = self.layers.conv(f"transition_{i}", x.shape[-1] // 2, 1)(x)
                x = nn.avg_pool(x, (2, 2), (2, 2))
            x = DenseBlock(number, self.layers, name=f"block_{i + 1}")(x, train)
        x = nn.relu(self.layers.norm("norm", train)(x))
        return self.layers.classifier(x, self.num_classes)


class DenseBlock(nn.Module):
    """Layers that each see the outputs of all before.

    Attributes:
        number: of layers.
        layers: what they are made of.
    """

    number: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H, W, C + 32 number]``."""
        for i in range(self.number):
            x = DenseLayer(self.layers, name=f"layer_{i}")(x, train)
        return x
