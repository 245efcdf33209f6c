"""Convolutions as matrix products of patches. XLA:CPU's own are many times slower inside a compiled loop."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from softshare_jax.ops.dense_convolution import Padding, Strides


def patches(images: jax.Array, size: tuple[int, int], strides: Strides) -> list[jax.Array]:
    """Returns for each pixel of a kernel what it is multiplied by, ``[B, H', W', I]`` each.

    Args:
        images: padded, ``[B, H, W, I]``.
        size: height and width of the kernel.
        strides: strides of the convolution.
    """
    batch, height, width, inputs = images.shape
    bottom, right = height - size[0] + 1, width - size[1] + 1
    return [
        lax.slice(
            images, (0, row, column, 0), (batch, bottom + row, right + column, inputs), (1, *strides, 1)
        )
        for row in range(size[0])
        for column in range(size[1])
    ]


def product(parts: list[jax.Array], kernel: jax.Array) -> jax.Array:
    """Multiplies parts ``[B, H', W', I]`` by their kernels ``[parts, I, O]``, to ``[B, H', W', O]``."""
    # On CPUs the product of two matrices is a third faster than that of images and a matrix.
    matrix = kernel.reshape(-1, kernel.shape[-1])
    rows = jnp.concatenate(parts, axis=-1).reshape(-1, len(matrix))
    return jnp.dot(rows, matrix).reshape(*parts[0].shape[:3], -1)


# Patches are several times as large as images, so they are made again for the gradient.
@functools.partial(jax.checkpoint, static_argnums=(2, 3))
def convolve(images: jax.Array, kernel: jax.Array, strides: Strides, padding: Padding) -> jax.Array:
    """Maps ``[B, H, W, I]`` and a kernel ``[h, w, I, O]`` to ``[B, H', W', O]``."""
    height, width, inputs, outputs = kernel.shape
    padded = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    return product(patches(padded, (height, width), strides), kernel.reshape(-1, inputs, outputs))
