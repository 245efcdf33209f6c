"""Implementations of 2-D convolution for ``nn.Conv(conv_general_dilated=...)``, and the choice by platform.

All compute the same to rounding. XLA's own runs everywhere, but its weight gradient on CPUs takes two to
eight times as long as the same work as matrix products.
"""

from collections.abc import Callable

import jax
from jax import lax

from softshare_jax.errors import UserError
from softshare_jax.ops import onednn, weight_gradient
from softshare_jax.ops.dense_convolution import DenseConvolution

Convolution = Callable[..., jax.Array]

# By name: XLA's; XLA's with a weight gradient of matrix products; oneDNN's.
CONVOLUTIONS: dict[str, Convolution] = {
    "xla": lax.conv_general_dilated,
    "matmul": DenseConvolution(weight_gradient.convolve, weight_gradient.LEAST_WORK),
    "onednn": DenseConvolution(onednn.convolve),
}


def choose(name: str, platform: str) -> str:
    """Returns the name of the convolution to use.

    Args:
        name: a key of ``CONVOLUTIONS``, or ``"auto"``: on CPUs oneDNN where it is installed and matrix
            products elsewhere; XLA's own on accelerators.
        platform: platform of the devices, such as ``"cpu"``.

    Raises:
        UserError: oneDNN was asked for and cannot be used.
    """
    if platform != "cpu":
        return "xla"
    if name in ("auto", "onednn") and onednn.available():
        return "onednn"
    if name == "onednn":
        raise UserError("config.convolution is 'onednn', which is not installed: pip install -e '.[cpu]'")
    return "matmul" if name == "auto" else name
