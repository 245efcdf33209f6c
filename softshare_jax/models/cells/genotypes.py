"""Published cells, as data.

A cell has two inputs: state 0 is the output of the cell before the last, state 1 that of the last cell. Each
node is the sum of two operations on earlier states, and becomes state 2, 3 and so on. The output is a
concatenation of states. ``operations.py`` defines the operations by name.
"""

import dataclasses

Edge = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one kind of cell computes.

    Attributes:
        nodes: two edges per node: an operation, and the state that it reads.
        output: states that are concatenated.
    """

    nodes: tuple[tuple[Edge, Edge], ...]
    output: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Genotype:
    """The cells of a network.

    Attributes:
        normal: cell that keeps the resolution.
        reduction: cell that halves the resolution and doubles the channels.
        cells, channels: published size for CIFAR-10: number of cells, and channels of an operation in the
            first cell.
        projects_twice: whether state 1 passes through a second 1x1 convolution.
    """

    normal: Cell
    reduction: Cell
    cells: int
    channels: int
    projects_twice: bool = False


# Zoph et al. 2018, arXiv 1707.07012, with 6 cells per stage and 768 channels at the end: 3.3 M. The
# output of a normal cell also contains state 0, as in the released code.
NASNET_A = Genotype(
    normal=Cell(
        (
            (("sep_conv_5x5", 1), ("sep_conv_3x3", 0)),
            (("sep_conv_5x5", 0), ("sep_conv_3x3", 0)),
            (("avg_pool_3x3", 1), ("skip_connect", 0)),
            (("avg_pool_3x3", 0), ("avg_pool_3x3", 0)),
            (("sep_conv_3x3", 1), ("skip_connect", 1)),
        ),
        (0, 2, 3, 4, 5, 6),
    ),
    reduction=Cell(
        (
            (("sep_conv_5x5", 1), ("sep_conv_7x7", 0)),
            (("max_pool_3x3", 1), ("sep_conv_7x7", 0)),
            (("avg_pool_3x3", 1), ("sep_conv_5x5", 0)),
            (("skip_connect", 3), ("avg_pool_3x3", 2)),
            (("sep_conv_3x3", 2), ("max_pool_3x3", 1)),
        ),
        (3, 4, 5, 6),
    ),
    cells=20,
    channels=32,
)

# Real et al. 2019, arXiv 1802.01548, N = 6 and F = 36: 2.8 M.
AMOEBANET_B = Genotype(
    normal=Cell(
        (
            (("conv_1x1", 0), ("max_pool_3x3", 0)),
            (("skip_connect", 0), ("sep_conv_3x3", 1)),
            (("conv_1x1", 0), ("sep_conv_3x3", 1)),
            (("conv_1x1", 2), ("skip_connect", 2)),
            (("avg_pool_3x3", 0), ("conv_1x1", 5)),
        ),
        (1, 3, 4, 6),
    ),
    reduction=Cell(
        (
            (("max_pool_2x2", 1), ("max_pool_3x3", 1)),
            (("skip_connect", 2), ("bottleneck_3x3", 0)),
            (("dil_sep_conv_5x5", 2), ("max_pool_3x3", 2)),
            (("skip_connect", 3), ("sep_conv_3x3", 0)),
            (("avg_pool_3x3", 4), ("conv_1x1", 3)),
        ),
        (5, 6),
    ),
    cells=20,
    channels=36,
)

# Liu et al. 2019, arXiv 1806.09055, second order: 3.3 M.
DARTS = Genotype(
    normal=Cell(
        (
            (("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
            (("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
            (("sep_conv_3x3", 1), ("skip_connect", 0)),
            (("skip_connect", 0), ("dil_conv_3x3", 2)),
        ),
        (2, 3, 4, 5),
    ),
    reduction=Cell(
        (
            (("max_pool_3x3", 0), ("max_pool_3x3", 1)),
            (("skip_connect", 2), ("max_pool_3x3", 1)),
            (("max_pool_3x3", 0), ("skip_connect", 2)),
            (("skip_connect", 2), ("max_pool_3x3", 1)),
        ),
        (2, 3, 4, 5),
    ),
    cells=20,
    channels=36,
)

# Xie et al. 2019, arXiv 1812.09926, with the moderate constraint: 2.8 M.
SNAS = Genotype(
    normal=Cell(
        (
            (("dil_conv_5x5", 0), ("skip_connect", 1)),
            (("sep_conv_3x3", 0), ("skip_connect", 1)),
            (("skip_connect", 0), ("skip_connect", 1)),
            (("sep_conv_3x3", 0), ("dil_conv_5x5", 1)),
        ),
        (2, 3, 4, 5),
    ),
    reduction=Cell(
        (
            (("max_pool_3x3", 0), ("max_pool_3x3", 1)),
            (("sep_conv_5x5", 0), ("dil_conv_5x5", 1)),
            (("sep_conv_5x5", 0), ("sep_conv_5x5", 1)),
            (("sep_conv_5x5", 0), ("sep_conv_5x5", 1)),
        ),
        (2, 3, 4, 5),
    ),
    cells=20,
    channels=36,
)

# Pham et al. 2018, arXiv 1802.03268, micro search space, the released cells: 4.6 M with 6 cells per stage, as
# in the paper. (The released script has 5 cells per stage: 3.9 M.)
ENAS = Genotype(
    normal=Cell(
        (
            (("avg_pool_3x3", 0), ("sep_conv_3x3", 0)),
            (("skip_connect", 0), ("sep_conv_5x5", 0)),
            (("skip_connect", 0), ("sep_conv_5x5", 1)),
            (("sep_conv_3x3", 1), ("sep_conv_5x5", 0)),
            (("avg_pool_3x3", 0), ("sep_conv_5x5", 1)),
        ),
        (2, 3, 4, 5, 6),
    ),
    reduction=Cell(
        (
            (("sep_conv_3x3", 1), ("sep_conv_3x3", 1)),
            (("max_pool_3x3", 0), ("avg_pool_3x3", 0)),
            (("sep_conv_5x5", 1), ("sep_conv_5x5", 3)),
            (("sep_conv_3x3", 1), ("skip_connect", 0)),
            (("max_pool_3x3", 0), ("sep_conv_5x5", 1)),
        ),
        (2, 4, 5, 6),
    ),
    cells=20,
    channels=36,
    projects_twice=True,
)

# By name of the network.
GENOTYPES = {
    "nasnet-a": NASNET_A,
    "amoebanet-b": AMOEBANET_B,
    "darts": DARTS,
    "snas": SNAS,
    "enas": ENAS,
}
