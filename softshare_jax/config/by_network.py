"""The recipe of a network that is known by name only."""

import dataclasses

from softshare_jax.config import recipes
from softshare_jax.config.parsing import from_dict
from softshare_jax.config.schema import Config
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.models.cells.genotypes import GENOTYPES
from softshare_jax.models.network import LARGE_IMAGES


def recipe(name: str, num_classes: int, batch_size: int | None = None) -> Config:
    """Returns the config with which ``configs/`` trains a network.

    Args:
        name: of the network.
        num_classes: of a classifier.
        batch_size: overrides the recipe's; the learning rate on ImageNet follows it.

    Raises:
        UserError: there is no such network, no data set with that many classes, or no such batch size.
    """
    network = zoo.named(name)
    if not network.classifies:
        config = recipes.shortest_paths(name)
    elif network.input_shape == LARGE_IMAGES:
        config = recipes.imagenet(name, num_classes, 256 if batch_size is None else batch_size)
    elif num_classes not in (10, 100):
        raise UserError(f"{name} is trained on 10 or 100 classes, not {num_classes}")
    else:
        of_cells = network.unshared.startswith(tuple(GENOTYPES))
        config = (recipes.cells if of_cells else recipes.cifar)(name, num_classes)
    if batch_size is not None:
        config = dataclasses.replace(config, batch_size=batch_size)
    return from_dict(config.to_dict())
