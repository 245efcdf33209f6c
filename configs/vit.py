"""CIFAR-10: vision transformers, unshared and soft-shared.

    softshare train --config=vit:svit-12-64-4-4 --workdir=runs/svit-12-64-4-4

A variant is ``vit-LAYERS-WIDTH-PATCH``. Prefix ``s`` and suffix ``-k`` share query, key, value, output and
both MLP projections with k templates each. 100 epochs, 39,000 steps. The recipe is not from the paper.
"""

from ml_collections import ConfigDict

from softshare_jax.config import recipes


def get_config(variant: str = "svit-12-64-4-4") -> ConfigDict:
    """Returns the config of a variant."""
    return ConfigDict(recipes.vit(variant).to_dict())
