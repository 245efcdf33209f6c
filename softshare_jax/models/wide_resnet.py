"""Wide ResNets (Zagoruyko & Komodakis 2016, arXiv 1605.07146), pre-activation, for small images."""

import functools

import flax.linen as nn
import jax

from softshare_jax.errors import UserError
from softshare_jax.models import bottleneck
from softshare_jax.models.dropout import Dropout
from softshare_jax.models.initializers import he_normal
from softshare_jax.models.layers import Layers
from softshare_jax.models.network import SMALL_IMAGES, Options
from softshare_jax.models.registry import Architecture, Family, Shareable
from softshare_jax.models.stage import STACKED, Stage

# The paper uses one initializer for all weights.
LAYERS = Layers(he_normal, he_normal)


class Block(nn.Module):
    """BN-ReLU-conv-BN-ReLU(-dropout)-conv plus a shortcut.

    The shortcut is the identity, or a 1x1 convolution of the pre-activated input if the number of channels
    changes.

    Attributes:
        features: output channels.
        stride: stride of the first convolution and of the shortcut.
        dropout: rate between the two convolutions.
        layers: makes convolutions and batch-norm.
    """

    features: int
    stride: int
    dropout: float
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H / stride, W / stride, features]``."""
        layers = self.layers
        active = nn.relu(layers.norm("norm1", train)(x))
        y = layers.conv("conv1", self.features, 3, self.stride)(active)
        y = nn.relu(layers.norm("norm2", train)(y))
        y = Dropout(self.dropout, layers.axis_name)(y, train)
        y = layers.conv("conv2", self.features, 3)(y)
        if x.shape[-1] != self.features:
            x = layers.conv("shortcut", self.features, 1, self.stride)(active)
        return x + y


class WideResNet(nn.Module):
    """WRN L-w for 32x32 images: a stem, three stages, global average pooling, a linear classifier.

    Attributes:
        depth: L = 6n + 4, with n blocks in each stage.
        width: w; the stages have 16w, 32w and 64w channels.
        num_classes: number of logits.
        dropout: rate between the convolutions of a block.
        scan: run the blocks of a stage as a loop. For accelerators: XLA:CPU runs convolutions in a loop
            more than ten times slower.
        layers: makes convolutions, batch-norm and the classifier.
    """

    depth: int
    width: int
    num_classes: int
    dropout: float = 0.0
    scan: bool = False
    layers: Layers = LAYERS

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps normalized images ``[B, H, W, 3]`` to logits ``[B, num_classes]``.

        With ``train``, batch-norm uses the statistics of the batch and updates its running statistics in
        the collection ``batch_stats``, and dropout draws from the stream ``dropout``.
        """
        x = self.layers.conv("stem", 16, 3)(images)
        for i in range(3):
            block = functools.partial(
                Block, features=16 * self.width * 2**i, dropout=self.dropout, layers=self.layers
            )
            stride = 1 if i == 0 else 2
            x = Stage(block, (self.depth - 4) // 6, stride, self.scan, name=f"stage_{i + 1}")(x, train)
        x = nn.relu(self.layers.norm("norm", train)(x))
        return self.layers.classifier(x, self.num_classes)


def architecture(depth: int, width: int) -> Architecture:
    """Returns ``wrn-28-10`` and others.

    Shareable: in each stage all 3x3 convolutions except those of the first block, whose shapes differ. The
    wide ResNets for ImageNet, such as ``wrn-50-2``, are bottleneck networks.

    Raises:
        UserError: the depth is not valid.
    """
    if depth in bottleneck.BLOCKS:
        return bottleneck.architecture(bottleneck.BLOCKS[depth], inner=64 * width)
    if depth % 6 != 4 or depth < 10:
        raise UserError(
            f"a wide ResNet has 6n + 4 layers (10, 16, 22, 28, ...), not {depth}; "
            f"for ImageNet it has {bottleneck.DEPTHS}"
        )

    def build(options: Options) -> WideResNet:
        layers = options.layers(he_normal, he_normal)
        return WideResNet(depth, width, options.num_classes, options.dropout_rate, options.scan, layers)

    shareable = {
        f"stage_{i}": Shareable(rf"stage_{i}/blocks/conv\d/kernel", (depth - 4) // 3 - 2) for i in (1, 2, 3)
    }
    return Architecture(build, SMALL_IMAGES, shareable, STACKED, supports=("dropout_rate",))


FAMILIES = (
    Family(
        r"wrn-(?P<depth>[1-9]\d*)-(?P<width>[1-9]\d*)",
        architecture,
        examples=("wrn-28-10", "wrn-40-4", "wrn-50-2"),
    ),
)
