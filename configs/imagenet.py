"""ImageNet, 100 epochs: bottleneck ResNets, unshared and soft-shared, and DenseNets.

    softshare train --config=imagenet:swrn-50-2 --workdir=runs/swrn-50-2 \\
        --config.data_dir=DIR --config.dtype=bfloat16

A variant is the name of a network: ``wrn-50-2``, ``swrn-50-2`` (one template per layer), ``swrn-50-2-2``,
``resnet-50``, ``resnet-200``, ``resnext-50-32x4d``, ``densenet-264``. The poster's top-1 error is 21.74% with
swrn-50-2 and 22.0% with wrn-50-2. Needs accelerators: 500,400 steps of 256 images. The learning rate follows
the batch size; large batches need a warm-up:

    --config.batch_size=8192 --config.optimizer.warmup='5 epochs' --config.zero_init_residual

docs/imagenet.md describes the layout of DIR.
"""

from ml_collections import ConfigDict

from softshare_jax.config import recipes


def get_config(variant: str = "swrn-50-2") -> ConfigDict:
    """Returns the config of a variant."""
    config = ConfigDict(recipes.imagenet(variant).to_dict())
    config.optimizer.learning_rate = recipes.IMAGENET_RATE * config.get_ref("batch_size").to_float()
    return config
