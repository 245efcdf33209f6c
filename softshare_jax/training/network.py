"""The network of a config."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from softshare_jax.config import Cifar, Config, ImageNet
from softshare_jax.errors import UserError
from softshare_jax.models import zoo

# Networks for small images take images of up to this many pixels a side.
SMALL = 64


def build_network(config: Config, classes: int | None, axis_name: str | None = None) -> nn.Module:
    """Builds the unshared network of a config.

    Args:
        config: names the network and its options.
        classes: of the task; ``None`` where the answer is not a class.
        axis_name: of the mapped axis over which devices split the batch; ``None`` for a whole batch.

    Raises:
        UserError: there is no such network, or it does not give such answers.
    """
    named = zoo.named(config.model)
    if named.classifies is (classes is None):
        answer = "a class" if named.classifies else "a value for every pixel"
        raise UserError(f"{config.model} predicts {answer}, which is not the task of {config.data.name}")
    # XLA:CPU runs convolutions in a loop more than ten times slower.
    scan = config.scan_blocks == "yes" or (config.scan_blocks == "auto" and jax.default_backend() != "cpu")
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
        )
    )


def check_image_size(config: Config) -> None:
    """Checks that the network of a new run is made for the images of its data set.

    Version 0.1 trained any network on any images; such runs resume.

    Raises:
        UserError: it is not.
    """
    named = zoo.named(config.model)
    if not named.classifies or not isinstance(config.data, Cifar | ImageNet):
        return  # build_network checks the answers
    side, _, _ = named.input_shape
    small = isinstance(config.data, Cifar)
    # Images smaller than those of ImageNet's networks are a choice.
    wrong = side > SMALL if isinstance(config.data, Cifar) else side <= SMALL < config.data.image_size
    if wrong:
        other = "wrn-28-10" if small else "wrn-50-2"
        raise UserError(
            f"{config.model} is a network for images of {side}x{side} pixels, which {config.data.name} does "
            f"not have; choose one such as {other} (docs/networks.md)"
        )
