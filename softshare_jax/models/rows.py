"""Blocks of one structure as rows of stacked parameters."""

import flax.linen as nn
import jax

# The leaves of which every row is a layer, as rules take it.
STACKED = r"(.*/blocks)/.*"


def run_rows(block: nn.Module, x: jax.Array, train: bool, rows: int, scan: bool) -> jax.Array:
    """Runs ``rows`` blocks one after another; each has its own row of the parameters and statistics.

    Args:
        block: one of them, by whose name the stacked leaves go: ``blocks/conv1/kernel`` ``[rows, ...]``;
            it maps ``(x, train)`` to an array like x.
        x: input of the first block.
        train: as the block takes it.
        rows: 1 or more.
        scan: run them as a loop, so that compile time does not grow with their number; they are the
            same parameters either way.
    """
    loop = nn.scan(
        lambda block, x: (block(x, train), None),
        variable_axes={"params": 0, "batch_stats": 0},
        split_rngs={"params": True, "dropout": True},
        length=rows,
        # Any number from the length on takes the loop apart, but 1 never does.
        unroll=1 if scan else max(rows, 2),
    )
    return loop(block, x)[0]
