"""Pre-activation wide ResNets for small images (Zagoruyko & Komodakis 2016)."""

import flax.linen as nn
import jax

from softshare_jax.models.dropout import Dropout
from softshare_jax.models.initializers import he_normal
from softshare_jax.models.layers import Layers
from softshare_jax.models.network import Network, Options, Sharing
from softshare_jax.models.rows import STACKED, run_rows

# The paper draws all weights alike.
LAYERS = Layers(he_normal, he_normal)


class Block(nn.Module):
    """BN-ReLU-conv-BN-ReLU(-dropout)-conv plus a shortcut.

    The shortcut is the identity, or where the number of channels changes a 1x1 convolution of the
    pre-activated input.

    Attributes:
        features: channels of the output.
        stride: of the first convolution and of the shortcut.
        dropout: rate between the two convolutions.
        layers: what it is made of.
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


class Stage(nn.Module):
    """A first block, which may change resolution and width, and further blocks of one structure.

    The further blocks are rows of stacked parameters, ``blocks/conv1/kernel`` ``[n - 1, 3, 3, C, C]``,
    however they run: what they are compiled to is the caller's choice and not the checkpoint's.

    Attributes:
        blocks: n, 1 or more.
        features: channels of every block.
        stride: of the first block.
        dropout: rate within the blocks.
        scan: run the further blocks as a loop, so that compile time does not grow with depth.
        layers: what it is made of.
    """

    blocks: int
    features: int
    stride: int
    dropout: float
    scan: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H / stride, W / stride, features]``."""
        x = Block(self.features, self.stride, self.dropout, self.layers, name="block_0")(x, train)
        further = self.blocks - 1
        if not further:
            return x
        block = Block(self.features, 1, self.dropout, self.layers, name="blocks")
        return run_rows(block, x, train, further, self.scan)


class WideResNet(nn.Module):
    """WRN L-w for 32x32 images: a stem, three stages, global average pooling, a linear classifier.

    An ordinary network: a WRN as it stands, an SWRN under ``SoftShare``.

    Attributes:
        depth: L = 6n + 4, with n blocks in each stage.
        width: w; the stages have 16w, 32w and 64w channels.
        num_classes: logits.
        dropout: rate between the convolutions of a block.
        scan: run the blocks of a stage as a loop (for accelerators: XLA:CPU runs convolutions
            in a loop more than ten times slower).
        layers: what it is made of.
    """

    depth: int
    width: int
    num_classes: int
    dropout: float = 0.0
    scan: bool = False
    layers: Layers = LAYERS

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps normalised images ``[B, H, W, 3]`` to logits ``[B, num_classes]``.

        With ``train`` batch-norm takes the statistics of the batch and updates its running ones,
        in the collection ``batch_stats``, and dropout draws from the stream ``dropout``.
        """
        x = self.layers.conv("stem", 16, 3)(images)
        for i in range(3):
            stage = Stage(
                blocks=(self.depth - 4) // 6,
                features=16 * self.width * 2**i,
                stride=1 if i == 0 else 2,
                dropout=self.dropout,
                scan=self.scan,
                layers=self.layers,
                name=f"stage_{i + 1}",
            )
            x = stage(x, train)
        x = nn.relu(self.layers.norm("norm", train)(x))
        return self.layers.classifier(x, self.num_classes)


def network(sharing: Sharing, depth: int, width: int) -> Network:
    """Returns a named network.

    What can share are all 3x3 convolutions of a stage after its first block, which has another shape.

    Args:
        sharing: what its name says of it.
        depth, width: as ``WideResNet`` takes them.

    Raises:
        UserError: there is nothing to share, or not among so many templates.
    """

    def build(options: Options) -> WideResNet:
        options.refuse_all_but(sharing.name, "dropout_rate")
        layers = options.layers(he_normal, he_normal)
        return WideResNet(depth, width, options.num_classes, options.dropout_rate, options.scan, layers)

    shared = {f"stage_{i}": (rf"stage_{i}/blocks/conv\d/kernel", (depth - 4) // 3 - 2) for i in (1, 2, 3)}
    return sharing.network(build, shared, (32, 32, 3), stacked=STACKED)
