"""The network of a config."""

import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import Mesh

from softshare_jax.config import Cifar, Config, ImageNet
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.ops.convolution import CONVOLUTIONS, choose
from softshare_jax.training import mesh as mesh_lib

# Largest side, in pixels, of an image that counts as small.
SMALL = 64


def build_network(config: Config, classes: int | None, mesh: Mesh, axis_name: str | None = None) -> nn.Module:
    """Builds the unshared network of a config.

    Args:
        config: the network's name and options.
        classes: number of classes; ``None`` if the task is not classification.
        mesh: the devices; their platform and number decide how blocks and convolutions are computed.
        axis_name: mapped axis over which devices split the batch; ``None`` for a whole batch.

    Raises:
        UserError: the network is unknown or does not fit the task.
    """
    named = zoo.named(config.model)
    if named.classifies is (classes is None):
        answer = "a class" if named.classifies else "a value for every pixel"
        raise UserError(f"{config.model} predicts {answer}; {config.data.name} needs another network")
    platform = mesh_lib.platform(mesh)
    # In a loop, SWRN 28-10-2 takes 1.3 times as long on a GPU, and convolutions ten times as long on a CPU.
    scan = config.scan_blocks == "yes" or (config.scan_blocks == "auto" and platform == "tpu")
    return named.build(
        zoo.Options(
            dtype=jnp.dtype(config.dtype),
            num_classes=classes or 0,
            dropout_rate=config.dropout_rate,
            scan=scan,
            zero_init_residual=config.zero_init_residual,
            aux_loss_weight=config.aux_loss_weight,
            drop_path_rate=config.drop_path_rate,
            axis_name=axis_name,
            convolution=CONVOLUTIONS[convolution_of(config, mesh)],
        )
    )


def convolution_of(config: Config, mesh: Mesh) -> str:
    """Returns the implementation of convolutions, a key of ``CONVOLUTIONS``."""
    return choose(config.convolution, mesh_lib.platform(mesh), mesh.size, looped=bool(config.loop.weight))


def check_image_size(config: Config) -> None:
    """Checks that the network of a new run fits the image size of its data set.

    Version 0.1 trained any network on any images; such runs can resume.

    Raises:
        UserError: it does not fit.
    """
    named = zoo.named(config.model)
    if not named.classifies or not isinstance(config.data, Cifar | ImageNet):
        return  # build_network checks these
    side, _, _ = named.input_shape
    small = isinstance(config.data, Cifar)
    # Networks for ImageNet may train on smaller images of its layout.
    wrong = side > SMALL if isinstance(config.data, Cifar) else side <= SMALL < config.data.image_size
    if wrong:
        other = "wrn-28-10" if small else "wrn-50-2"
        raise UserError(
            f"{config.model} is for images of {side}x{side} pixels, which {config.data.name} does not have; "
            f"choose a network such as {other} (docs/networks.md)"
        )
