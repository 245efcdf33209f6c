"""CIFAR-100, the paper's recipe.

    softshare train --config=cifar100:swrn-28-10-2-dropout --workdir=runs/cifar100

Variants are those of cifar10.py. The poster's error is 18.66% with swrn-28-10-2-dropout and 19.25% with
wrn-28-10.
"""

from ml_collections import ConfigDict

from softshare_jax.config import recipes, variants


def get_config(variant: str = "swrn-28-10-2") -> ConfigDict:
    """Returns the config of a variant."""
    model, endings = variants.split(variant, ("dropout", "cutout"))
    config = ConfigDict(recipes.cifar(model, classes=100).to_dict())
    config.dropout_rate = 0.3 if "dropout" in endings else 0.0
    config.data.cutout = 16 if "cutout" in endings else 0
    return config
