"""Pre-activation wide ResNets for small images (Zagoruyko & Komodakis 2016)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.models.dropout import Dropout
from softshare_jax.models.initializers import he_normal
from softshare_jax.models.rows import run_rows


class Block(nn.Module):
    """BN-ReLU-conv-BN-ReLU(-dropout)-conv plus a shortcut.

    The shortcut is the identity, or where the number of channels changes a 1x1 convolution of the
    pre-activated input.

    Attributes:
        features: channels of the output.
        stride: of the first convolution and of the shortcut.
        dropout: rate between the two convolutions.
        dtype: dtype of the computation; parameters and statistics are float32.
        axis_name: the mapped axis over which the batch is split, if it is.
    """

    features: int
    stride: int = 1
    dropout: float = 0.0
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H / stride, W / stride, features]``."""
        active = nn.relu(batch_norm("norm1", train, self.dtype, self.axis_name)(x))
        y = conv("conv1", self.features, 3, self.stride, self.dtype)(active)
        y = nn.relu(batch_norm("norm2", train, self.dtype, self.axis_name)(y))
        y = Dropout(self.dropout, self.axis_name)(y, train)
        y = conv("conv2", self.features, 3, 1, self.dtype)(y)
        if x.shape[-1] != self.features:
            x = conv("shortcut", self.features, 1, self.stride, self.dtype)(active)
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
        dtype: dtype of the computation.
        axis_name: the mapped axis over which the batch is split, if it is.
    """

    blocks: int
    features: int
    stride: int
    dropout: float
    scan: bool
    dtype: Any
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H / stride, W / stride, features]``."""
        rest = (self.dropout, self.dtype, self.axis_name)
        x = Block(self.features, self.stride, *rest, name="block_0")(x, train)
        further = self.blocks - 1
        if not further:
            return x
        block = Block(self.features, 1, *rest, name="blocks")
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
        dtype: dtype of the computation; parameters, statistics and logits are float32.
        axis_name: the mapped axis over which the batch is split, if it is.
    """

    depth: int
    width: int
    num_classes: int
    dropout: float = 0.0
    scan: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps normalised images ``[B, H, W, 3]`` to logits ``[B, num_classes]``.

        With ``train`` batch-norm takes the statistics of the batch and updates its running ones,
        in the collection ``batch_stats``, and dropout draws from the stream ``dropout``.
        """
        x = conv("stem", 16, 3, 1, self.dtype)(images)
        for i in range(3):
            stage = Stage(
                blocks=(self.depth - 4) // 6,
                features=16 * self.width * 2**i,
                stride=1 if i == 0 else 2,
                dropout=self.dropout,
                scan=self.scan,
                dtype=self.dtype,
                axis_name=self.axis_name,
                name=f"stage_{i + 1}",
            )
            x = stage(x, train)
        x = nn.relu(batch_norm("norm", train, self.dtype, self.axis_name)(x))
        x = jnp.mean(x.astype(jnp.promote_types(jnp.float32, x.dtype)), axis=(1, 2))
        return nn.Dense(self.num_classes, kernel_init=he_normal, name="classifier")(x)


def conv(name: str, features: int, size: int, stride: int, dtype: Any) -> nn.Conv:
    """Returns a convolution without bias that pads as PyTorch does: alike on all sides."""
    return nn.Conv(
        features,
        (size, size),
        stride,
        padding=size // 2,
        use_bias=False,
        kernel_init=he_normal,
        dtype=dtype,
        name=name,
    )


def batch_norm(name: str, train: bool, dtype: Any, axis_name: str | None) -> nn.BatchNorm:
    """Returns batch-norm with the paper's constants, over the global batch."""
    return nn.BatchNorm(
        use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=dtype, axis_name=axis_name, name=name
    )
