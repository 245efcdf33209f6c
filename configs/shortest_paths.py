"""Shortest paths, the paper's synthetic task: CNN, SCNN and SCNN-R.

    softshare train --config=shortest_paths:scnn-r --workdir=runs/scnn-r

Variants: ``cnn`` (unshared), ``scnn`` (one template per layer) and ``scnn-r`` (the default; with the
recurrence regularizer). 39,000 steps on 32x32 grids: hours on a CPU, so use a GPU; quickstart.py is
the same task in minutes.
"""

from ml_collections import ConfigDict

from softshare_jax.config import recipes
from softshare_jax.errors import UserError, unknown

MODELS = {"cnn": "cnn-20-32", "scnn": "scnn-20-32", "scnn-r": "scnn-20-32"}


def get_config(variant: str = "scnn-r") -> ConfigDict:
    """Returns the config of a variant."""
    if variant not in MODELS:
        raise UserError(unknown("variant", variant, MODELS))
    config = ConfigDict(recipes.shortest_paths(MODELS[variant]).to_dict())
    config.sharing.recurrence = 0.01 if variant == "scnn-r" else 0.0
    return config
