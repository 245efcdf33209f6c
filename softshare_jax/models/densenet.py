"""DenseNets (Huang et al. 2017, arXiv 1608.06993), for ImageNet as torchvision has them and for CIFAR."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.models.initializers import he_normal
from softshare_jax.models.layers import Layers
from softshare_jax.models.network import Network, Options, Sharing

# Channels of a layer's 1x1 convolution over the growth.
BOTTLENECK = 4


class DenseLayer(nn.Module):
    """BN-ReLU-3x3, or BN-ReLU-1x1-BN-ReLU-3x3, whose output is appended to its input.

    Attributes:
        growth: channels of the output.
        bottleneck: whether there is a 1x1 convolution.
        of_input: channels that come into the block.
        layers: what it is made of.
    """

    growth: int
    bottleneck: bool
    of_input: int
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
            y = PartedConv(self.growth, self.of_input, layers, name="conv")(y)
        return jnp.concatenate([x, y], axis=-1)


class PartedConv(nn.Module):
    """A 3x3 convolution whose kernel is kept in two parts.

    ``of_input`` ``[3, 3, of_input, features]`` reads the channels that come into the block and has one shape
    in all its layers, ``of_layers`` ``[3, 3, C - of_input, features]`` reads what earlier layers appended.

    Attributes:
        features: channels of the output.
        of_input: channels that the first part reads.
        layers: its initialiser and dtype.
    """

    features: int
    of_input: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H, W, features]``."""
        whole = (3, 3, x.shape[-1], self.features)

        def part(name: str, channels: slice) -> jax.Array:
            # Of the scale that the kernel has as a whole.
            return self.param(name, lambda key: self.layers.kernel_init(key, whole)[:, :, channels])

        parts = [part("of_input", slice(self.of_input))]
        if x.shape[-1] > self.of_input:
            parts.append(part("of_layers", slice(self.of_input, None)))
        kernel = jnp.concatenate(parts, axis=2).astype(self.layers.dtype)
        return jax.lax.conv_general_dilated(
            x.astype(self.layers.dtype), kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )


class DenseBlock(nn.Module):
    """Layers that each see the outputs of all before.

    Attributes:
        number: of layers.
        growth: channels that each adds.
        bottleneck: whether they have one.
        layers: what they are made of.
    """

    number: int
    growth: int
    bottleneck: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H, W, C + growth number]``."""
        of_input = x.shape[-1]
        for i in range(self.number):
            layer = DenseLayer(self.growth, self.bottleneck, of_input, self.layers, name=f"layer_{i}")
            x = layer(x, train)
        return x


class DenseNet(nn.Module):
    """A stem, dense blocks with transitions between them, global average pooling, a linear classifier.

    A transition halves the resolution. As DenseNet-BC it halves the channels, too, and layers have a
    bottleneck: then no two 1x1 convolutions of a block have one shape, and all its 3x3 convolutions,
    ``block_1/layer_0/conv2/kernel`` ``[3, 3, 4 growth, growth]`` and so on, have.

    Attributes:
        blocks: layers of each block.
        growth: channels that each layer adds.
        num_classes: logits.
        layers: what it is made of.
        bc: bottlenecks and compression.
        small_images: for 32x32 images, whose resolution the stem keeps.
    """

    blocks: tuple[int, ...]
    growth: int
    num_classes: int
    layers: Layers
    bc: bool = True
    small_images: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps normalised images ``[B, H, W, 3]`` to logits ``[B, num_classes]``.

        With ``train`` batch-norm takes the statistics of the batch and updates its running ones,
        in the collection ``batch_stats``.
        """
        stem = 2 * self.growth if self.bc else 16
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


def network(
    sharing: Sharing,
    blocks: tuple[int, ...],
    growth: int,
    input_shape: tuple[int, int, int],
    bc: bool = True,
    small_images: bool = False,
) -> Network:
    """Returns a named network.

    What can share are in each block the 3x3 convolutions of its layers. Without bottlenecks no two of these
    have one shape, as each reads more channels than the one before: what can share is then the part of each
    that reads the channels which come into the block.

    Args:
        sharing: what its name says of it.
        blocks, growth, bc, small_images: as ``DenseNet`` takes them.
        input_shape: one example, ``(H, W, C)``.

    Raises:
        UserError: there is nothing to share, or not among so many templates.
    """

    def build(options: Options) -> DenseNet:
        options.refuse_all_but(sharing.name)
        return DenseNet(blocks, growth, options.num_classes, options.layers(he_normal), bc, small_images)

    kernel = "conv2/kernel" if bc else "conv/of_input"
    shared = {
        f"block_{i}": (rf"block_{i}/layer_\d+/{kernel}", number) for i, number in enumerate(blocks, start=1)
    }
    return sharing.network(build, shared, input_shape)
