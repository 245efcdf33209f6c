"""A named network, and the options to build it with."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.models.initializers import uniform_fan_in
from softshare_jax.models.layers import Initializer, Layers
from softshare_jax.sharing import Rule

# Shapes of one example, ``(H, W, C)``.
SMALL_IMAGES, LARGE_IMAGES = (32, 32, 3), (224, 224, 3)
# Name of an auxiliary classifier's logits in the collection ``intermediates``.
AUXILIARY = "auxiliary_logits"


@dataclasses.dataclass(frozen=True)
class Options:
    """How a named network is built.

    Attributes:
        dtype: dtype of the computation.
        num_classes: number of classes; networks that do not classify ignore it.
        dropout_rate: dropout rate.
        scan: run blocks of one structure as a loop, if the network has such blocks.
        zero_init_residual: start residual blocks as the identity: the scale of their last batch-norm is zero.
        aux_loss_weight: loss weight of an auxiliary classifier; 0 for a network without one.
        drop_path_rate: drop-path rate at the end of training. The rate itself is an argument of each call.
        axis_name: mapped axis over which the batch is split. In training, batch-norm and dropout then
            use the global batch. ``None`` for a batch in one piece.
        convolution: computes the convolutions, as ``lax.conv_general_dilated`` does.
    """

    dtype: Any = jnp.float32
    num_classes: int = 10
    dropout_rate: float = 0.0
    scan: bool = False
    zero_init_residual: bool = False
    aux_loss_weight: float = 0.0
    drop_path_rate: float = 0.0
    axis_name: str | None = None
    convolution: Callable[..., jax.Array] = jax.lax.conv_general_dilated

    def layers(self, kernel_init: Initializer, classifier_init: Initializer = uniform_fan_in) -> Layers:
        """Returns the layers of a network with these options."""
        return Layers(kernel_init, classifier_init, self.dtype, self.axis_name, self.convolution)


@dataclasses.dataclass(frozen=True)
class Network:
    """A named network.

    Attributes:
        name: name that was given, such as ``swrn-28-10-2``.
        unshared: name of the same network without sharing.
        build: options -> the network without sharing. Raises ``UserError`` for options that the network
            does not support.
        rule: sharing rule; the empty plan for a network without sharing.
        input_shape: shape of one example, ``(H, W, C)``.
        classifies: whether it predicts one class per image, and not one logit per pixel.
    """

    name: str
    unshared: str
    build: Callable[[Options], nn.Module]
    rule: Rule
    input_shape: tuple[int, int, int]
    classifies: bool
