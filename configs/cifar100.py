"""CIFAR-100, the paper's recipe.

    softshare train --config=cifar100:swrn-28-10-2-dropout --workdir=runs/cifar100

The variants are those of cifar10.py. The poster's error is 18.66% with swrn-28-10-2-dropout and 19.25% with
wrn-28-10.
"""

from ml_collections import ConfigDict

from softshare_jax.config import recipes


def get_config(variant: str = "swrn-28-10-2") -> ConfigDict:
    """Returns the config of a variant."""
    return ConfigDict(recipes.cifar_variant(variant, classes=100).to_dict())
