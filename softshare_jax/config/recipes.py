"""The recipes by which the shipped configs train networks.

Each returns a complete config. The files in ``configs/`` make a ``ConfigDict`` of it and state what differs.
"""

import dataclasses

from softshare_jax.config.schema import Cifar, Config, ImageNet, Optimizer, ShortestPaths


def cifar(model: str, classes: int = 10) -> Config:
    """Returns the paper's recipe for wide ResNets on CIFAR: 200 epochs of SGD in batches of 128."""
    return Config(
        model=model,
        data=Cifar(name=f"cifar{classes}"),
        optimizer=Optimizer(schedule="steps", milestones=(0.3, 0.6, 0.8), weight_decay=5e-4),
    )


def cells(model: str, classes: int = 10) -> Config:
    """Returns the recipe of DARTS (arXiv 1806.09055) for searched cells on CIFAR, with Nesterov momentum."""
    return dataclasses.replace(
        cifar(model, classes),
        drop_path_rate=0.2,
        aux_loss_weight=0.4,
        data=Cifar(name=f"cifar{classes}", cutout=16),
        optimizer=Optimizer(learning_rate=0.025, schedule="cosine", weight_decay=3e-4, grad_clip_norm=5.0),
        batch_size=96,
        duration="600 epochs",
    )


# Learning rate for each image of a batch (Goyal et al. 2017, arXiv 1706.02677).
IMAGENET_RATE = 0.1 / 256


def imagenet(model: str, classes: int = 1000, batch_size: int = 256) -> Config:
    """Returns the usual 100 epochs on ImageNet; the learning rate is proportional to the batch size."""
    return Config(
        model=model,
        data=ImageNet(classes=classes),
        optimizer=Optimizer(
            learning_rate=IMAGENET_RATE * batch_size,
            schedule="steps",
            milestones=(0.3, 0.6, 0.9),
            milestone_factor=0.1,
            weight_decay=1e-4,
        ),
        batch_size=batch_size,
        duration="100 epochs",
    )


def shortest_paths(model: str) -> Config:
    """Returns the recipe of the paper's synthetic task: 250 epochs of Adam on 32x32 grids."""
    return Config(
        model=model,
        data=ShortestPaths(),
        optimizer=Optimizer(name="adam", learning_rate=0.01),
        batch_size=32,
        duration="250 epochs",
        evaluate_every="2 epochs",
        checkpoint_every="10 epochs",
    )
