"""CIFAR-10 with cutout, searched cells: NASNet-A, AmoebaNet-B, DARTS, SNAS and ENAS.

    softshare train --config=cells:sdarts-2 --workdir=runs/sdarts-2

A variant is the name of a network: ``darts``, ``nasnet-a``, ``amoebanet-b``, ``snas`` or ``enas`` in the
published size, or ``darts-20x36`` with 20 cells and 36 channels. A prefix ``s`` and a suffix ``-k`` share it
with k templates. All are trained as DARTS trains its cells (Liu et al. 2019, arXiv 1806.09055), with Nesterov
momentum: 600 epochs, 312,000 steps of 96 images. The papers report errors of 2.5 to 2.9%. Needs a GPU.
"""

from ml_collections import ConfigDict

from softshare_jax.config import recipes


def get_config(variant: str = "sdarts-2") -> ConfigDict:
    """Returns the config of a variant."""
    return ConfigDict(recipes.cells(variant).to_dict())
