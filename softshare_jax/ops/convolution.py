"""Implementations of 2-D convolution for ``nn.Conv(conv_general_dilated=...)``, and the choice by platform.

All compute the same to rounding. XLA's own runs everywhere, but its weight gradient on CPUs takes up to
eight times as long as the same work as matrix products.
"""

from collections.abc import Callable

import jax
from jax import lax

from softshare_jax.errors import UserError
from softshare_jax.ops import onednn, patches, weight_gradient
from softshare_jax.ops.dense_convolution import DenseConvolution

Convolution = Callable[..., jax.Array]

# By name: XLA's; XLA's with a weight gradient of matrix products; matrix products alone; oneDNN's.
CONVOLUTIONS: dict[str, Convolution] = {
    "xla": lax.conv_general_dilated,
    "matmul": DenseConvolution(weight_gradient.convolve, weight_gradient.LEAST_WORK),
    "patches": DenseConvolution(patches.convolve),
    "onednn": DenseConvolution(onednn.convolve),
}


def choose(name: str, platform: str, devices: int, looped: bool = False) -> str:
    """Returns the name of the convolution to use.

    Args:
        name: a key of ``CONVOLUTIONS``, or ``"auto"``: on one CPU device oneDNN, where it is installed; on
            other CPUs matrix products for the weight gradient, or throughout in a loop; XLA's own on
            accelerators. XLA's partitioner does not split oneDNN's convolutions over devices, so evaluation
            would run whole on each.
        platform: platform of the devices, such as ``"cpu"``.
        devices: number of devices.
        looped: whether layers run in a compiled loop, where XLA:CPU's convolutions are many times slower.

    Raises:
        UserError: oneDNN was asked for and cannot be used.
    """
    if platform != "cpu":
        return "xla"
    if (name == "onednn" or (name == "auto" and devices == 1)) and onednn.available():
        return "onednn"
    if name == "onednn":
        raise UserError(
            "config.convolution is 'onednn', which cannot be used here; "
            "it needs pip install -e '.[cpu]' and a C++ compiler"
        )
    if name == "auto":
        return "patches" if looped else "matmul"
    return name
