"""DenseNets (Huang et al. 2017, arXiv 1608.06993), for ImageNet as in torchvision and for 32x32 images."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.errors import UserError
from softshare_jax.models.initializers import he_normal
from softshare_jax.models.layers import Layers
from softshare_jax.models.network import LARGE_IMAGES, SMALL_IMAGES, Options
from softshare_jax.models.registry import Architecture, Family, Shareable
from softshare_jax.sharing import Slice

# Channels of a layer's 1x1 convolution, over the growth.
BOTTLENECK = 4
# Channels of the stem of a network without bottlenecks.
STEM = 16
# For ImageNet: layers -> layers of each block, and the growth.
BLOCKS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32), 264: (6, 12, 64, 48)}
DEPTHS = "121, 169, 201 or 264 layers"
GROWTH = 32


class DenseLayer(nn.Module):
    """BN-ReLU-3x3, or BN-ReLU-1x1-BN-ReLU-3x3, whose output is appended to its input.

    Attributes:
        growth: output channels of the convolutions.
        bottleneck: whether there is a 1x1 convolution.
        layers: makes convolutions and batch-norm.
    """

    growth: int
    bottleneck: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H, W, C + growth]``."""
        layers = self.layers
        if self.bottleneck:
            y = nn.relu(layers.norm("norm1", train)(x))
            y = layers.conv("conv1", BOTTLENECK * self.growth, 1)(y)
            y = nn.relu(layers.norm("norm2", train)(y))
            y = layers.conv("conv2", self.growth, 3)(y)
        else:
            y = nn.relu(layers.norm("norm", train)(x))
            y = layers.conv("conv", self.growth, 3)(y)
        return jnp.concatenate([x, y], axis=-1)


class DenseBlock(nn.Module):
    """Layers that each read the input of the block and the outputs of all earlier layers.

    Attributes:
        number: number of layers.
        growth: channels that each layer adds.
        bottleneck: whether layers have a 1x1 convolution.
        layers: makes convolutions and batch-norm.
    """

    number: int
    growth: int
    bottleneck: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H, W, C + growth number]``."""
        for i in range(self.number):
            x = DenseLayer(self.growth, self.bottleneck, self.layers, name=f"layer_{i}")(x, train)
        return x


class DenseNet(nn.Module):
    """A stem, dense blocks with transitions between them, global average pooling, a linear classifier.

    A transition halves the resolution. In a DenseNet-BC it also halves the channels, and layers have a
    bottleneck. All 3x3 kernels of a block then have the same shape, ``block_1/layer_0/conv2/kernel``
    ``[3, 3, 4 growth, growth]``; its 1x1 kernels all have different shapes.

    Attributes:
        blocks: layers of each block.
        growth: channels that each layer adds.
        num_classes: number of logits.
        layers: makes convolutions, batch-norm and the classifier.
        bc: bottlenecks and compression.
        small_images: use a stem that keeps the resolution, for 32x32 images.
    """

    blocks: tuple[int, ...]
    growth: int
    num_classes: int
    layers: Layers
    bc: bool = True
    small_images: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps normalized images ``[B, H, W, 3]`` to logits ``[B, num_classes]``.

        With ``train``, batch-norm uses the statistics of the batch and updates its running statistics in
        the collection ``batch_stats``.
        """
        stem = 2 * self.growth if self.bc else STEM
        if self.small_images:
            x = self.layers.conv("stem", stem, 3)(images)
        else:
            x = self.layers.stem(images, train, stem)
        for i, number in enumerate(self.blocks):
            if i:
                x = nn.relu(self.layers.norm(f"transition_{i}_norm", train)(x))
                features = x.shape[-1] // 2 if self.bc else x.shape[-1]
                x = self.layers.conv(f"transition_{i}", features, 1)(x)
                x = nn.avg_pool(x, (2, 2), (2, 2))
            x = DenseBlock(number, self.growth, self.bc, self.layers, name=f"block_{i + 1}")(x, train)
        x = nn.relu(self.layers.norm("norm", train)(x))
        return self.layers.classifier(x, self.num_classes)


def architecture(
    blocks: tuple[int, ...], growth: int, bc: bool = True, small_images: bool = False
) -> Architecture:
    """Returns a network; the arguments are those of ``DenseNet``.

    Shareable: the 3x3 kernels of a block. Without bottlenecks their shapes differ, because each layer
    reads more channels than the one before. All of them read the input of the block, so the part of each
    kernel for these channels is shareable, and the rest is private.
    """

    def build(options: Options) -> DenseNet:
        return DenseNet(blocks, growth, options.num_classes, options.layers(he_normal), bc, small_images)

    shareable, channels = {}, STEM
    for i, layers in enumerate(blocks, start=1):
        kernel, part = ("conv2", None) if bc else ("conv", Slice(axis=2, start=0, stop=channels))
        shareable[f"block_{i}"] = Shareable(rf"block_{i}/layer_\d+/{kernel}/kernel", layers, part)
        channels += layers * growth
    return Architecture(build, SMALL_IMAGES if small_images else LARGE_IMAGES, shareable)


def large(depth: int) -> Architecture:
    """Returns ``densenet-121`` and others, for ImageNet."""
    return architecture(BLOCKS[depth], GROWTH)


def small(depth: int, growth: int | None, bc: str | None) -> Architecture:
    """Returns ``densenet-100-24``, ``densenet-bc-190-40`` and others, for 32x32 images.

    Raises:
        UserError: the depth is not valid, or the growth is missing.
    """
    if growth is None:
        raise UserError(
            f"a densenet has {DEPTHS} for ImageNet, not {depth}; "
            "for small images its growth follows, as in densenet-100-24"
        )
    if not bc and depth in BLOCKS:
        # sdensenet-121-12 would otherwise be both this network and the one for ImageNet with 12 templates.
        raise UserError(f"a densenet of {depth} layers is for ImageNet; for small images it has others")
    convolutions = 6 if bc else 3
    layers, left = divmod(depth - 4, convolutions)
    if left or layers < 1:
        raise UserError(f"a densenet{bc or ''} has {convolutions}n + 4 layers, not {depth}")
    return architecture((layers,) * 3, growth, bool(bc), small_images=True)


# The first match wins: sdensenet-121-8 is the network for ImageNet with 8 templates.
FAMILIES = (
    Family(
        rf"densenet-(?P<depth>{'|'.join(map(str, BLOCKS))})", large, examples=("densenet-121", "densenet-264")
    ),
    Family(
        r"densenet(?P<bc>-bc)?-(?P<depth>\d+)(?:-(?P<growth>[1-9]\d*))?",
        small,
        examples=("densenet-100-24", "densenet-bc-190-40"),
    ),
)
