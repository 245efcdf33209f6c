"""CIFAR-10, the paper's recipe: wide ResNets and other networks, unshared and soft-shared.

    softshare train --config=cifar10:swrn-28-10-2 --workdir=runs/swrn-28-10-2

A variant is the name of a network (``wrn-28-10``, ``swrn-28-10-2``, ``resnext-29-8x64d``,
``densenet-100-24``, ``densenet-bc-190-40``), optionally followed by ``-dropout`` (rate 0.3; starred rows of
the poster), ``-cutout`` (16x16) or both. The poster's error is 3.75% with swrn-28-10-2-dropout and 2.69%
with swrn-28-10-2-cutout, in 0.4 GPU days. Needs a GPU: 200 epochs, 78,000 steps. Searched cells are in
cells.py.

The first run downloads the official archive (170 MB) into ``--config.data_dir``.
"""

from ml_collections import ConfigDict

from softshare_jax.config import recipes


def get_config(variant: str = "swrn-28-10-2") -> ConfigDict:
    """Returns the config of a variant."""
    return ConfigDict(recipes.cifar_variant(variant).to_dict())
