"""The recipe of a network, by its name."""

import dataclasses

from softshare_jax.config import recipes
from softshare_jax.config.parsing import from_dict
from softshare_jax.config.schema import Config
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.models.cells.genotypes import GENOTYPES
from softshare_jax.models.network import LARGE_IMAGES

# CIFAR recipes by the start of a network's name; all other networks use the paper's recipe.
RECIPES = {**dict.fromkeys(GENOTYPES, recipes.cells), "vit-": recipes.vit}


def recipe(name: str, num_classes: int, batch_size: int | None = None) -> Config:
    """Returns the config that ``configs/`` uses for a network.

    Args:
        name: name of the network.
        num_classes: number of classes, for a classifier.
        batch_size: ``None`` for the recipe's. The learning rate on ImageNet is proportional to it.

    Raises:
        UserError: the network is unknown, no data set has that many classes, or the batch size is invalid.
    """
    network = zoo.named(name)
    if not network.classifies:
        config = recipes.shortest_paths(name)
    elif network.input_shape == LARGE_IMAGES:
        config = recipes.imagenet(name, num_classes, 256 if batch_size is None else batch_size)
    elif num_classes not in (10, 100):
        raise UserError(f"{name} is trained on 10 or 100 classes, not {num_classes}")
    else:
        of_family = (make for start, make in RECIPES.items() if network.unshared.startswith(start))
        config = next(of_family, recipes.cifar)(name, num_classes)
    if batch_size is not None:
        config = dataclasses.replace(config, batch_size=batch_size)
    return from_dict(config.to_dict())
