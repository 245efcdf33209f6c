"""Bottleneck residual networks: ResNet, wide ResNet and ResNeXt.

The layout is that of He et al. 2016 (arXiv 1512.03385) with the stride in the 3x3 convolution, as
torchvision has it. What tells the networks apart is how many channels that convolution has and in how
many groups: Zagoruyko & Komodakis 2016 (arXiv 1605.07146) double the channels, Xie et al. 2017
(arXiv 1611.05431) double them and divide them into 32 groups.
"""

import flax.linen as nn
import jax

from softshare_jax.models.initializers import he_normal_fan_out
from softshare_jax.models.layers import Layers
from softshare_jax.models.network import Network, Options, Sharing
from softshare_jax.models.rows import STACKED, run_rows

# Channels of a stage's output over those of the 3x3 convolutions of a plain ResNet.
EXPANSION = 4


class Block(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each with batch-norm, plus a shortcut; ReLU between and after.

    The shortcut is the identity, or where the number of channels changes a 1x1 convolution with
    batch-norm.

    Attributes:
        features: channels of the output.
        inner: channels of the 3x3 convolution.
        groups: of its channels.
        stride: of it and of the shortcut.
        zero_residual: start with a last batch-norm of scale zero: the block is then its shortcut.
        layers: what it is made of.
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

    A stage is a first block, ``stage_1/block_0``, which changes resolution and width, and further blocks of
    one structure, which are rows of stacked parameters, ``stage_1/blocks/conv1/kernel``
    ``[n - 1, 1, 1, C, inner]``. An ordinary network: as it stands, or under ``SoftShare``.

    Attributes:
        blocks: of each stage.
        inner: channels of the 3x3 convolutions of the first stage; they double from stage to stage.
        groups: of these channels.
        num_classes: logits.
        layers: what it is made of.
        zero_residual: start blocks as the identity (Goyal et al. 2017, arXiv 1706.02677, section 5.1).
        scan: run the further blocks of a stage as a loop (for accelerators: XLA:CPU runs convolutions in
            a loop more than ten times slower).
        small_images: for 32x32 images, whose resolution the stem keeps.
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
        """Maps normalised images ``[B, H, W, 3]`` to logits ``[B, num_classes]``.

        With ``train`` batch-norm takes the statistics of the batch and updates its running ones,
        in the collection ``batch_stats``.
        """
        x = self.layers.stem(images, train, small=self.small_images)
        for i, blocks in enumerate(self.blocks):
            stage = Stage(
                blocks=blocks,
                features=64 * EXPANSION * 2**i,
                inner=self.inner * 2**i,
                groups=self.groups,
                stride=1 if i == 0 else 2,
                zero_residual=self.zero_residual,
                scan=self.scan,
                layers=self.layers,
                name=f"stage_{i + 1}",
            )
            x = stage(x, train)
        return self.layers.classifier(x, self.num_classes)


class Stage(nn.Module):
    """A first block and further blocks of one structure; attributes are those of blocks and network."""

    blocks: int
    features: int
    inner: int
    groups: int
    stride: int
    zero_residual: bool
    scan: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H / stride, W / stride, features]``."""

        def block(stride: int, name: str) -> Block:
            return Block(
                self.features, self.inner, self.groups, stride, self.zero_residual, self.layers, name=name
            )

        x = block(self.stride, "block_0")(x, train)
        further = self.blocks - 1
        return run_rows(block(1, "blocks"), x, train, further, self.scan) if further else x


def network(
    sharing: Sharing,
    blocks: tuple[int, ...],
    inner: int,
    groups: int,
    input_shape: tuple[int, int, int],
    small_images: bool = False,
) -> Network:
    """Returns a named network.

    What can share are in each stage the first, the second and the third convolutions of its blocks. But for
    the first block, which has other shapes or, where it has not, another place in the network.

    Args:
        sharing: what its name says of it.
        blocks, inner, groups, small_images: as ``BottleneckResNet`` takes them.
        input_shape: one example, ``(H, W, C)``.

    Raises:
        UserError: there is nothing to share, or not among so many templates.
    """

    def build(options: Options) -> BottleneckResNet:
        options.refuse_all_but(sharing.name, "zero_init_residual")
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

    shared = {
        f"stage_{i}_conv{j}": (rf"stage_{i}/blocks/conv{j}/kernel", number - 1)
        for i, number in enumerate(blocks, start=1)
        for j in (1, 2, 3)
    }
    return sharing.network(build, shared, input_shape, stacked=STACKED)
