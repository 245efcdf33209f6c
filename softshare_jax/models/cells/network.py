"""A network of cells: a stem, normal cells with two reductions between them, and a linear classifier."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.models.cells import genotypes
from softshare_jax.models.cells.operations import Operation
from softshare_jax.models.dropout import DropPath
from softshare_jax.models.layers import Layers
from softshare_jax.models.network import AUXILIARY

# Channels of the stem, over those of the first cell.
STEM = 3


def reductions(cells: int) -> tuple[int, int]:
    """Returns the indices of the two reduction cells, after one third and two thirds of the cells."""
    return cells // 3, 2 * cells // 3


class Cell(nn.Module):
    """One cell of a genotype.

    Attributes:
        cell: nodes of the cell.
        channels: output channels of every operation.
        reduction: whether the cell halves the resolution.
        projects_twice: whether state 1 passes through a second 1x1 convolution.
        layers: makes convolutions and batch-norm.
    """

    cell: genotypes.Cell
    channels: int
    reduction: bool
    projects_twice: bool
    layers: Layers

    @nn.compact
    def __call__(
        self, before: jax.Array, x: jax.Array, train: bool, drop_path: float | jax.Array
    ) -> jax.Array:
        """Returns the output of the cell.

        Args:
            before: output of the cell before the last, ``[B, H, W, C]``, or with twice the resolution.
            x: output of the last cell, ``[B, H, W, C]``.
            train: whether to drop paths, and to use the batch's statistics in batch-norm.
            drop_path: probability of dropping a path; identities are never dropped.
        """

        def operation(name: str, kind: str, stride: int = 1) -> Operation:
            return Operation(kind, self.channels, stride, self.layers, name=name)

        # Both inputs get the same shape. If the last cell was a reduction, the input before it is larger.
        larger = before.shape[1] > x.shape[1]
        states = [
            operation("input_0", "skip_connect", 2)(before, train)
            if larger
            else operation("input_0", "conv_1x1")(before, train),
            operation("input_1", "conv_1x1")(x, train),
        ]
        if self.projects_twice:
            states[1] = operation("input_1_again", "conv_1x1")(states[1], train)
        for node, edges in enumerate(self.cell.nodes):
            paths = []
            for side, (kind, source) in enumerate(edges):
                name = f"edge_{2 * node + side}"
                stride = 2 if self.reduction and source < 2 else 1
                path = operation(name, kind, stride)(states[source], train)
                if (kind, stride) != ("skip_connect", 1):
                    path = DropPath(self.layers.axis_name, name=f"drop_{name}")(path, train, drop_path)
                paths.append(path)
            states.append(paths[0] + paths[1])
        return jnp.concatenate([states[i] for i in self.cell.output], axis=-1)


class AuxiliaryHead(nn.Module):
    """Classifies from the middle of the network, for a second loss in training.

    Attributes:
        num_classes: number of logits.
        layers: makes convolutions, batch-norm and the classifier.
    """

    num_classes: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, 8, 8, C]`` to logits ``[B, num_classes]``."""
        x = nn.avg_pool(nn.relu(x), (5, 5), (3, 3))
        x = nn.relu(self.layers.norm("norm_1", train)(self.layers.conv("conv_1", 128, 1)(x)))
        x = self.layers.conv("conv_2", 768, 2, padding=0)(x)
        return self.layers.classifier(nn.relu(self.layers.norm("norm_2", train)(x)), self.num_classes)


class CellNetwork(nn.Module):
    """A searched network for 32x32 images (Zoph et al. 2018, arXiv 1707.07012).

    Attributes:
        genotype: the cells.
        cells: number of cells, including two reductions.
        channels: channels of the operations in the first cells; each reduction doubles them.
        num_classes: number of logits.
        layers: makes convolutions, batch-norm and the classifier.
        auxiliary: whether an auxiliary classifier sows its logits in training, as
            ``intermediates/auxiliary_logits``.
    """

    genotype: genotypes.Genotype
    cells: int
    channels: int
    num_classes: int
    layers: Layers
    auxiliary: bool = False

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool = False, drop_path: float | jax.Array = 0.0
    ) -> jax.Array:
        """Maps normalized images ``[B, 32, 32, 3]`` to logits ``[B, num_classes]``.

        With ``train``, batch-norm uses the statistics of the batch and updates its running statistics in
        the collection ``batch_stats``, and paths are dropped with probability ``drop_path``, from the
        stream ``dropout``.
        """
        x = self.layers.conv("stem", STEM * self.channels, 3)(images)
        x = before = self.layers.norm("stem_norm", train)(x)
        channels, genotype = self.channels, self.genotype
        first, second = reductions(self.cells)
        for i in range(self.cells):
            reduction = i in (first, second)
            channels *= 2 if reduction else 1
            cell = Cell(
                genotype.reduction if reduction else genotype.normal,
                channels,
                reduction,
                genotype.projects_twice,
                self.layers,
                name=f"cell_{i}",
            )
            before, x = x, cell(before, x, train, drop_path)
            # Create the head's parameters at init; compute its logits only in training.
            if self.auxiliary and i == second and (train or self.is_initializing()):
                head = AuxiliaryHead(self.num_classes, self.layers, name="auxiliary")
                self.sow("intermediates", AUXILIARY, head(x, train))
        return self.layers.classifier(x, self.num_classes)
