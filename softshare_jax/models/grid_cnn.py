"""The residual CNN of the shortest-paths task."""

import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.models.initializers import he_normal
from softshare_jax.models.network import Network, Options, Sharing

PATTERN = r"cnn-([1-9]\d*)-([1-9]\d*)"
EXAMPLES = ("cnn-20-32",)


class ConvBlock(nn.Module):
    """A 3x3 convolution, batch-norm and ReLU, with a skip over all three.

    Attributes:
        dtype: dtype of the computation; parameters and statistics are float32.
        axis_name: the mapped axis over which the batch is split, if it is.
    """

    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H, W, C]``."""
        conv = nn.Conv(
            x.shape[-1], (3, 3), use_bias=False, kernel_init=he_normal, dtype=self.dtype, name="conv"
        )
        norm = nn.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            dtype=self.dtype,
            axis_name=self.axis_name,
            name="norm",
        )
        return x + nn.relu(norm(conv(x)))


class GridCNN(nn.Module):
    """Keeps the resolution and answers for every pixel, as in the paper's synthetic task.

    An ordinary network: the CNN of the paper as it stands, the SCNN under ``SoftShare``.

    Attributes:
        depth: number of 3x3 blocks, all of one shape.
        channels: width of the blocks.
        dtype: dtype of the computation; parameters, statistics and logits are float32.
        axis_name: the mapped axis over which the batch is split, if it is.
    """

    depth: int
    channels: int
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images ``[B, H, W, 2]`` to logits ``[B, H, W]``.

        With ``train`` batch-norm takes the statistics of the batch and updates its running
        ones, in the collection ``batch_stats``.
        """
        x = nn.Conv(self.channels, (1, 1), kernel_init=he_normal, dtype=self.dtype, name="stem")(images)
        for i in range(self.depth):
            x = ConvBlock(self.dtype, self.axis_name, name=f"block_{i}")(x, train)
        logits = nn.Conv(1, (1, 1), kernel_init=he_normal, dtype=self.dtype, name="head")(x)
        return logits[..., 0].astype(jnp.float32)


def from_name(match: re.Match[str], sharing: Sharing) -> Network:
    """Returns the network for shortest paths that a name asks for.

    ``cnn-20-32`` is the paper's network, twenty 3x3 blocks of 32 channels, ``scnn-20-32-4`` the same with
    four templates, ``scnn-20-32`` with one template per layer.

    Raises:
        UserError: there is such a network, but not with so many templates.
    """
    depth, channels = int(match[1]), int(match[2])

    def build(options: Options) -> GridCNN:
        options.refuse_all_but(sharing.name)
        return GridCNN(depth, channels, options.dtype, options.axis_name)

    shared = {"blocks": (r"block_\d+/conv/kernel", depth)}
    return sharing.network(build, shared, (32, 32, 2), classifies=False)
