"""The recipes of the shipped configs.

Each returns a complete config. The files in ``configs/`` convert it to a ``ConfigDict`` and override fields.
"""

import dataclasses

from softshare_jax.config.data_sets import Cifar, ImageNet, ShortestPaths
from softshare_jax.config.schema import Config, Optimizer
from softshare_jax.config.variants import split


def cifar(model: str, classes: int = 10) -> Config:
    """Returns the paper's recipe for wide ResNets on CIFAR: 200 epochs of SGD in batches of 128."""
    return Config(
        model=model,
        data=Cifar(name=f"cifar{classes}"),
        optimizer=Optimizer(schedule="steps", milestones=(0.3, 0.6, 0.8), weight_decay=5e-4),
    )


def cifar_variant(variant: str, classes: int = 10) -> Config:
    """Returns the paper's recipe for a network's name with ``-dropout`` (0.3), ``-cutout`` (16x16) or both.

    Raises:
        UserError: the variant ends in another word.
    """
    model, endings = split(variant, ("dropout", "cutout"))
    return dataclasses.replace(
        cifar(model, classes),
        dropout_rate=0.3 if "dropout" in endings else 0.0,
        data=Cifar(name=f"cifar{classes}", cutout=16 if "cutout" in endings else 0),
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


def vit(model: str, classes: int = 10) -> Config:
    """Returns a recipe for vision transformers on CIFAR: 100 epochs of AdamW with warm-up and cosine."""
    return Config(
        model=model,
        data=Cifar(name=f"cifar{classes}", label_smoothing=0.1),
        optimizer=Optimizer(
            name="adamw", learning_rate=1e-3, schedule="cosine", warmup="5 epochs", weight_decay=0.05
        ),
        duration="100 epochs",
    )


# Learning rate per image of a batch (Goyal et al. 2017, arXiv 1706.02677).
IMAGENET_RATE = 0.1 / 256


def imagenet(model: str, classes: int = 1000, batch_size: int = 256) -> Config:
    """Returns the 100-epoch recipe for ImageNet; the learning rate is proportional to the batch size."""
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
