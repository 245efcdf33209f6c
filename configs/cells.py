"""CIFAR-10 with cutout, searched cells: NASNet-A, AmoebaNet-B, DARTS, SNAS and ENAS, plain and soft-shared.

    python -m softshare_jax.main --config=configs/cells.py:sdarts-2 --workdir=runs/sdarts-2

A variant is the name of a network: ``darts``, ``nasnet-a``, ``amoebanet-b``, ``snas`` or ``enas``, in the
published size, or as ``darts-20x36`` with so many cells and channels; with an ``s`` before it and a number of
templates after it shared. All are trained as DARTS trains its cells (Liu et al. 2019, arXiv 1806.09055): 600
epochs, 312,000 steps of 96 images. Their papers' errors are 2.5 to 2.9%. Made for a GPU.

Fields that are not here are those of configs/cifar10.py, which explains them.
"""

import pathlib
import runpy

import ml_collections

CIFAR10 = runpy.run_path(str(pathlib.Path(__file__).with_name("cifar10.py")))


def get_config(variant: str = "sdarts-2") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    config = CIFAR10["get_config"](f"{variant}-cutout")

    # Probability with which a path of a cell drops out at the end of the run; it rises from 0 in a
    # straight line.
    config.drop_path = 0.2
    # Weight in the loss of a second classifier, in the middle of the network; 0 for none.
    config.auxiliary = 0.4

    # With Nesterov momentum; DARTS has plain momentum.
    config.optimizer.learning_rate = 0.025
    config.optimizer.schedule = "cosine"
    config.optimizer.milestones = ()
    config.optimizer.weight_decay = 3e-4
    # Norm that the gradient of a step is clipped to; 0 for no clipping.
    config.optimizer.clip = 5.0

    config.batch_size = 96
    config.duration = "600 epochs"
    return config
