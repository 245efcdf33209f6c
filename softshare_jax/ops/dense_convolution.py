"""A 2-D convolution of one implementation, and XLA's for everything that it does not cover."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# NHWC images and HWIO kernels.
LAYOUT = ("NHWC", "HWIO", "NHWC")
Strides = tuple[int, int]
Padding = tuple[tuple[int, int], tuple[int, int]]
# (images [B, H, W, I], kernel [h, w, I, O], strides, padding) -> [B, H', W', O]
Convolve = Callable[[jax.Array, jax.Array, Strides, Padding], jax.Array]


def by_xla(images: jax.Array, kernel: jax.Array, strides: Strides, padding: Padding) -> jax.Array:
    """Maps ``[B, H, W, I]`` and a kernel ``[h, w, I, O]`` to ``[B, H', W', O]``."""
    return lax.conv_general_dilated(images, kernel, strides, padding, dimension_numbers=LAYOUT)


@dataclasses.dataclass(frozen=True)
class DenseConvolution:
    """Has the signature of ``lax.conv_general_dilated``; linen passes it NHWC images and HWIO kernels.

    Grouped and dilated convolutions, other precisions and convolutions that gain nothing are XLA's.

    Attributes:
        convolve: the implementation, for float32.
        least_work: multiply-adds below which a convolution is XLA's.
    """

    convolve: Convolve
    least_work: int = 0

    def __call__(
        self,
        images: jax.Array,
        kernel: jax.Array,
        strides: Sequence[int],
        padding: str | Sequence[tuple[int, int]],
        **options: Any,
    ) -> jax.Array:
        """Maps ``[B, H, W, I]`` and a kernel ``[h, w, I, O]`` to ``[B, H', W', O]``."""
        if not self._covers(images, kernel, options):
            return lax.conv_general_dilated(images, kernel, strides, padding, **options)
        if isinstance(padding, str):
            padding = lax.padtype_to_pads(images.shape[1:3], kernel.shape[:2], strides, padding)
        (above, below), (left, right) = padding
        places = (strides[0], strides[1]), ((above, below), (left, right))
        out = jax.eval_shape(lambda x, w: by_xla(x, w, *places), images, kernel)
        work = kernel.size * math.prod(out.shape[:3])
        return (self.convolve if work >= self.least_work else by_xla)(images, kernel, *places)

    def _covers(self, images: jax.Array, kernel: jax.Array, options: dict[str, Any]) -> bool:
        dilations = [*(options.get("lhs_dilation") or ()), *(options.get("rhs_dilation") or ())]
        return (
            images.ndim == 4
            and images.dtype == kernel.dtype == jnp.float32
            and all(dilation == 1 for dilation in dilations)
            and options.get("feature_group_count", 1) == 1
            and options.get("precision") is None
        )
