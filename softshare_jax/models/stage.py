"""A stage of a residual network, whose blocks of one structure are rows of stacked parameters."""

from typing import Protocol

import flax.linen as nn
import jax

# Regular expression for the stacked leaves, as for ``by_regex``.
STACKED = r"(.*/blocks)/.*"


class MakeBlock(Protocol):
    """Makes a block that maps ``(x, train)`` to an array; further blocks keep the shape of x."""

    def __call__(self, *, stride: int, name: str) -> nn.Module:
        """Returns a block with a stride and a name."""


class Stage(nn.Module):
    """A first block, which may change resolution and width, and further blocks of one structure.

    The further blocks are rows of stacked parameters, ``blocks/conv1/kernel`` ``[n - 1, 3, 3, C, C]``. The
    parameters are the same with and without a loop, so checkpoints do not depend on it.

    Attributes:
        block: makes a block.
        blocks: n, 1 or more.
        stride: stride of the first block.
        scan: run the further blocks as a loop, so that compile time does not grow with depth.
    """

    block: MakeBlock
    blocks: int
    stride: int
    scan: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H / stride, W / stride, features]``."""
        x = self.block(stride=self.stride, name="block_0")(x, train)
        rows = self.blocks - 1
        if not rows:
            return x
        loop = nn.scan(
            lambda block, x: (block(x, train), None),
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True, "dropout": True},
            length=rows,
            # unroll >= length unrolls fully; unroll=1 never unrolls, so a single row needs 2.
            unroll=1 if self.scan else max(rows, 2),
        )
        return loop(self.block(stride=1, name="blocks"), x)[0]
