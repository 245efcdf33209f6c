"""The config: its fields, their defaults and bounds, and the recipes built on them."""

from softshare_jax.config.data_sets import Cifar, Data, ImageNet, ShortestPaths
from softshare_jax.config.parsing import first_difference, from_dict, from_stored
from softshare_jax.config.schema import MAY_CHANGE, Config, Loop, Optimizer, Sharing

__all__ = [
    "MAY_CHANGE",
    "Cifar",
    "Config",
    "Data",
    "ImageNet",
    "Loop",
    "Optimizer",
    "Sharing",
    "ShortestPaths",
    "first_difference",
    "from_dict",
    "from_stored",
]
