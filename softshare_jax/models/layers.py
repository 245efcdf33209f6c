"""The layers of all networks, with the padding and normalization of PyTorch."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.models.batch_norm import BatchNorm
from softshare_jax.models.initializers import uniform_fan_in

Initializer = Callable[..., jax.Array]


@dataclasses.dataclass(frozen=True)
class Layers:
    """Makes the layers of one network.

    Attributes:
        kernel_init: initializer of convolutions.
        classifier_init: initializer of the weights of the classifier.
        dtype: dtype of the computation; parameters, statistics and logits are float32.
        axis_name: mapped axis over which the batch is split; ``None`` for a batch in one piece.
        convolution: computes the convolutions; a function with the signature of ``lax.conv_general_dilated``.
    """

    kernel_init: Initializer
    classifier_init: Initializer = uniform_fan_in
    dtype: Any = jnp.float32
    axis_name: str | None = None
    convolution: Callable[..., jax.Array] = jax.lax.conv_general_dilated

    def conv(
        self,
        name: str | None,
        features: int,
        size: int,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
        padding: int | None = None,
        bias: bool = False,
    ) -> nn.Conv:
        """Returns a convolution with a ``size x size`` kernel.

        Args:
            name: name of the module; ``None`` in ``setup``, where the attribute names it.
            features: output channels.
            size: side of the kernel.
            stride: stride on both axes.
            groups: groups of channels.
            dilation: distance between the pixels that the kernel reads.
            padding: pixels on all sides; ``None`` keeps the resolution of odd kernels at stride 1.
            bias: whether to add a bias.
        """
        return nn.Conv(
            features,
            (size, size),
            stride,
            padding=dilation * (size // 2) if padding is None else padding,
            kernel_dilation=dilation,
            feature_group_count=groups,
            use_bias=bias,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            conv_general_dilated=self.convolution,
            name=name,
        )

    def norm(self, name: str, train: bool, zero: bool = False) -> BatchNorm:
        """Returns batch-norm with PyTorch's constants; its scale starts at one, or with ``zero`` at zero."""
        return BatchNorm(
            use_running_average=not train,
            scale_init=nn.initializers.zeros if zero else nn.initializers.ones,
            dtype=self.dtype,
            axis_name=self.axis_name,
            name=name,
        )

    def stem(self, images: jax.Array, train: bool, features: int = 64, small: bool = False) -> jax.Array:
        """Maps ``[B, H, W, 3]`` to ``[B, H / 4, W / 4, features]``: 7x7, batch-norm, ReLU and max-pooling.

        With ``small``, for small images, to ``[B, H, W, features]``: 3x3, batch-norm and ReLU.
        """
        x = self.conv("stem", features, 3)(images) if small else self.conv("stem", features, 7, 2)(images)
        x = nn.relu(self.norm("stem_norm", train)(x))
        return x if small else nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))

    def classifier(self, x: jax.Array, num_classes: int) -> jax.Array:
        """Maps ``[B, H, W, C]`` to logits ``[B, num_classes]``: global average pooling and a linear layer."""
        x = jnp.mean(x.astype(jnp.promote_types(jnp.float32, x.dtype)), axis=(1, 2))
        return nn.Dense(num_classes, kernel_init=self.classifier_init, name="classifier")(x)
