"""The operations on the edges of a cell, as in DARTS (Liu et al. 2019, arXiv 1806.09055)."""

import dataclasses
import re

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.models.layers import Layers

_SIZED = re.compile(r"(\w+)_(\d)x\2")


@dataclasses.dataclass(frozen=True)
class Unit:
    """ReLU, one or two convolutions and batch-norm.

    Attributes:
        size: side of the kernel.
        separable: a depthwise convolution, followed by a 1x1 convolution.
        dilation: distance between the pixels that the kernel reads.
        share: output channels, as a fraction of those of the operation.
    """

    size: int
    separable: bool = False
    dilation: int = 1
    share: float = 1.0


def units(operation: str) -> tuple[Unit, ...]:
    """Returns the units of an operation, in order; none for pooling and skip connections.

    Raises:
        KeyError: the operation is unknown.
    """
    match = _SIZED.fullmatch(operation)
    kind, size = (match[1], int(match[2])) if match else (operation, 1)
    return {
        "skip_connect": (),
        "avg_pool": (),
        "max_pool": (),
        "conv": (Unit(size),),
        "sep_conv": (Unit(size, separable=True),) * 2,
        "dil_conv": (Unit(size, separable=True, dilation=2),),
        "dil_sep_conv": (Unit(size, separable=True, dilation=2),) * 2,
        # AmoebaNet's convolution works on a quarter of the channels.
        "bottleneck": (Unit(1, share=0.25), Unit(size, share=0.25), Unit(1)),
    }[kind]


def kernels(operation: str) -> list[str]:
    """Returns the paths of the kernels of an operation with stride 1, in order of use."""
    names = []
    for i, unit in enumerate(units(operation), start=1):
        names += (
            [f"depthwise_{i}/kernel", f"pointwise_{i}/kernel"] if unit.separable else [f"conv_{i}/kernel"]
        )
    return names


class Operation(nn.Module):
    """One operation; the stride is that of the pooling, or of the first kernel larger than 1x1.

    Attributes:
        operation: name of the operation.
        features: output channels; also input channels, except in projections.
        stride: 1, or 2 if a reduction cell reads an input.
        layers: makes convolutions and batch-norm.
    """

    operation: str
    features: int
    stride: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H / stride, W / stride, features]``."""
        if self.operation == "skip_connect":
            return self._reduce(x, train) if self.stride == 2 else x
        if "pool" in self.operation:
            return self._pool(x)
        made_of = units(self.operation)
        strided = next((i for i, unit in enumerate(made_of) if unit.size > 1), 0)
        for i, unit in enumerate(made_of):
            x = self._unit(x, train, unit, i + 1, self.stride if i == strided else 1)
        return x

    def _unit(self, x: jax.Array, train: bool, unit: Unit, number: int, stride: int) -> jax.Array:
        features = max(1, int(unit.share * self.features))
        x = nn.relu(x)
        if unit.separable:
            channels = x.shape[-1]
            x = self.layers.conv(f"depthwise_{number}", channels, unit.size, stride, channels, unit.dilation)(
                x
            )
            x = self.layers.conv(f"pointwise_{number}", features, 1)(x)
        else:
            x = self.layers.conv(f"conv_{number}", features, unit.size, stride, dilation=unit.dilation)(x)
        return self.layers.norm(f"norm_{number}", train)(x)

    def _reduce(self, x: jax.Array, train: bool) -> jax.Array:
        """Halves the resolution: half of the channels read the even pixels, the others the odd pixels."""
        x = nn.relu(x)
        half = self.features // 2
        even = self.layers.conv("even", half, 1, 2)(x)
        odd = self.layers.conv("odd", self.features - half, 1, 2)(x[:, 1:, 1:])
        return self.layers.norm("norm", train)(jnp.concatenate([even, odd], axis=-1))

    def _pool(self, x: jax.Array) -> jax.Array:
        match = _SIZED.fullmatch(self.operation)
        assert match is not None
        size = int(match[2])
        window, strides = (size, size), (self.stride, self.stride)
        padding = (((size - 1) // 2, size // 2),) * 2
        if match[1] == "max_pool":
            return nn.max_pool(x, window, strides, padding)
        return nn.avg_pool(x, window, strides, padding, count_include_pad=False)
