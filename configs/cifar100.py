"""CIFAR-100, the paper's recipe.

    python -m softshare_jax.main --config=configs/cifar100.py:swrn-28-10-2-dropout --workdir=runs/cifar100

Variants are those of configs/cifar10.py, which explains every field. The poster's error with
swrn-28-10-2-dropout is 18.66%, with wrn-28-10 19.25%.
"""

import pathlib
import runpy

import ml_collections

CIFAR10 = runpy.run_path(str(pathlib.Path(__file__).with_name("cifar10.py")))


def get_config(variant: str = "swrn-28-10-2") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    config = CIFAR10["get_config"](variant)
    config.data.name = "cifar100"
    return config
