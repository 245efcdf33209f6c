"""Bottleneck residual networks: ResNet, wide ResNet for ImageNet, and ResNeXt.

The layout is that of He et al. 2016 (arXiv 1512.03385) with the stride in the 3x3 convolution, as in
torchvision. The networks differ in the channels and groups of that convolution. Zagoruyko & Komodakis 2016
(arXiv 1605.07146) double the channels. Xie et al. 2017 (arXiv 1611.05431) double them and divide them into 32
groups.
"""

import functools

import flax.linen as nn
import jax

from softshare_jax.errors import UserError
from softshare_jax.models.initializers import he_normal_fan_out
from softshare_jax.models.layers import Layers
from softshare_jax.models.network import LARGE_IMAGES, SMALL_IMAGES, Options
from softshare_jax.models.registry import Architecture, Family, Shareable
from softshare_jax.models.stage import STACKED, Stage

# Output channels of a stage, over the channels of the 3x3 convolutions of a ResNet that is not wide.
EXPANSION = 4
# For ImageNet: layers -> blocks of each stage. A block has three convolutions; stem and classifier are two
# more layers. Up to 38 layers all stages have the same number of blocks; the others are as published.
BLOCKS = {
    14: (1, 1, 1, 1),
    26: (2, 2, 2, 2),
    38: (3, 3, 3, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
DEPTHS = "14, 26, 38, 50, 101, 152 or 200 layers"


class Block(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each with batch-norm, plus a shortcut; ReLU between and after.

    The shortcut is the identity, or a 1x1 convolution with batch-norm if the number of channels changes.

    Attributes:
        features: output channels.
        inner: channels of the 3x3 convolution.
        groups: groups of these channels.
        stride: stride of the 3x3 convolution and of the shortcut.
        zero_residual: start the scale of the last batch-norm at zero, so that the block is its shortcut.
        layers: makes convolutions and batch-norm.
    """

    features: int
    inner: int
    groups: int
    stride: int
    zero_residual: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H / stride, W / stride, features]``."""
        layers = self.layers
        y = layers.conv("conv1", self.inner, 1)(x)
        y = nn.relu(layers.norm("norm1", train)(y))
        y = layers.conv("conv2", self.inner, 3, self.stride, self.groups)(y)
        y = nn.relu(layers.norm("norm2", train)(y))
        y = layers.conv("conv3", self.features, 1)(y)
        y = layers.norm("norm3", train, zero=self.zero_residual)(y)
        if x.shape[-1] != self.features:
            x = layers.conv("shortcut", self.features, 1, self.stride)(x)
            x = layers.norm("shortcut_norm", train)(x)
        return nn.relu(x + y)


class BottleneckResNet(nn.Module):
    """A stem, stages of bottleneck blocks, global average pooling and a linear classifier.

    Attributes:
        blocks: blocks of each stage.
        inner: channels of the 3x3 convolutions of the first stage; they double from stage to stage.
        groups: groups of these channels.
        num_classes: number of logits.
        layers: makes convolutions, batch-norm and the classifier.
        zero_residual: start blocks as the identity (Goyal et al. 2017, arXiv 1706.02677, section 5.1).
        scan: run the further blocks of a stage as a loop. For accelerators: XLA:CPU runs convolutions in
            a loop more than ten times slower.
        small_images: use a stem that keeps the resolution, for 32x32 images.
    """

    blocks: tuple[int, ...]
    inner: int
    groups: int
    num_classes: int
    layers: Layers
    zero_residual: bool = False
    scan: bool = False
    small_images: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps normalized images ``[B, H, W, 3]`` to logits ``[B, num_classes]``.

        With ``train``, batch-norm uses the statistics of the batch and updates its running statistics in
        the collection ``batch_stats``.
        """
        x = self.layers.stem(images, train, small=self.small_images)
        for i, blocks in enumerate(self.blocks):
            block = functools.partial(
                Block,
                features=64 * EXPANSION * 2**i,
                inner=self.inner * 2**i,
                groups=self.groups,
                zero_residual=self.zero_residual,
                layers=self.layers,
            )
            stride = 1 if i == 0 else 2
            x = Stage(block, blocks, stride, self.scan, name=f"stage_{i + 1}")(x, train)
        return self.layers.classifier(x, self.num_classes)


def architecture(
    blocks: tuple[int, ...], inner: int = 64, groups: int = 1, small_images: bool = False
) -> Architecture:
    """Returns a network; the arguments are those of ``BottleneckResNet``.

    In each stage three groups can share: the first, second and third convolution of every block except
    block 0, whose kernels have a different shape, or a different role if the shapes agree.
    """

    def build(options: Options) -> BottleneckResNet:
        return BottleneckResNet(
            blocks,
            inner,
            groups,
            options.num_classes,
            options.layers(he_normal_fan_out),
            options.zero_init_residual,
            options.scan,
            small_images,
        )

    shareable = {
        f"stage_{i}_conv{j}": Shareable(rf"stage_{i}/blocks/conv{j}/kernel", number - 1)
        for i, number in enumerate(blocks, start=1)
        for j in (1, 2, 3)
    }
    shape = SMALL_IMAGES if small_images else LARGE_IMAGES
    return Architecture(build, shape, shareable, STACKED, supports=("zero_init_residual",))


def resnet(depth: int) -> Architecture:
    """Returns ``resnet-50`` and others, for ImageNet.

    Raises:
        UserError: the depth is not valid.
    """
    if depth not in BLOCKS:
        raise UserError(f"a resnet has {DEPTHS}, not {depth}")
    return architecture(BLOCKS[depth])


def resnext(depth: int, groups: int, channels: int) -> Architecture:
    """Returns ``resnext-50-32x4d`` and others for ImageNet, ``resnext-29-8x64d`` and others for 32x32 images.

    Raises:
        UserError: the depth is not valid.
    """
    if depth in BLOCKS:
        return architecture(BLOCKS[depth], groups * channels, groups)
    if depth % 9 != 2 or depth < 11:
        raise UserError(
            f"a resnext has 9n + 2 layers (11, 20, 29, 47, ...), not {depth}; for ImageNet it has {DEPTHS}"
        )
    return architecture(((depth - 2) // 9,) * 3, groups * channels, groups, small_images=True)


FAMILIES = (
    Family(r"resnet-(?P<depth>\d+)", resnet, examples=("resnet-50", "resnet-101")),
    Family(
        r"resnext-(?P<depth>\d+)-(?P<groups>[1-9]\d*)x(?P<channels>[1-9]\d*)d",
        resnext,
        examples=("resnext-29-8x64d", "resnext-50-32x4d"),
    ),
)
