"""A convolution whose weight gradient is a matrix product of output gradients and patches of the images.

XLA:CPU computes the weight gradient as a convolution with a kernel of the size of the image. As a matrix
product, over blocks of images whose patches fit the cache of a core, it runs up to eight times as fast
(``python -m benchmarks.speed.convolutions``).
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from softshare_jax.ops.dense_convolution import Padding, Strides, by_xla
from softshare_jax.ops.patches import patches

# Bytes of the patches of one block of images.
BLOCK = 600_000
# Multiply-adds below which a convolution gains less time in a run than its program takes to compile.
LEAST_WORK = 2**26


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(images: jax.Array, kernel: jax.Array, strides: Strides, padding: Padding) -> jax.Array:
    """Maps ``[B, H, W, I]`` and a kernel ``[h, w, I, O]`` to ``[B, H', W', O]``."""
    return by_xla(images, kernel, strides, padding)


def _forward(images, kernel, strides, padding):
    return by_xla(images, kernel, strides, padding), (images, kernel)


def _backward(strides, padding, saved, gradient):
    images, kernel = saved
    _, transpose = jax.vjp(lambda images: by_xla(images, kernel, strides, padding), images)
    return *transpose(gradient), weight_gradient(images, gradient, kernel.shape, strides, padding)


convolve.defvjp(_forward, _backward)


def weight_gradient(
    images: jax.Array, gradient: jax.Array, shape: tuple[int, ...], strides: Strides, padding: Padding
) -> jax.Array:
    """Returns the gradient ``[h, w, I, O]`` of a kernel.

    Args:
        images: ``[B, H, W, I]``.
        gradient: gradient of the output, ``[B, H', W', O]``.
        shape: shape of the kernel.
        strides: strides of the convolution.
        padding: padding of the convolution.
    """
    height, width, inputs, outputs = shape
    count, rows, columns, _ = gradient.shape
    columns_of_patch = height * width * inputs
    most = max(1, BLOCK // (images.dtype.itemsize * rows * columns * columns_of_patch))
    block = max(size for size in range(1, count + 1) if count % size == 0 and size <= most)

    def of_block(images, gradient):
        # Without barriers XLA fuses the copies into the product, which then runs at a fraction of its speed.
        images = lax.optimization_barrier(jnp.pad(images, ((0, 0), *padding, (0, 0))))
        joined = lax.optimization_barrier(jnp.concatenate(patches(images, (height, width), strides), -1))
        # The opposite order of the operands is slower.
        return jnp.tensordot(gradient, joined, ((0, 1, 2), (0, 1, 2)))

    def add_block(total, blocks):
        return total + of_block(*blocks), None

    if block == count:
        total = of_block(images, gradient)
    else:
        blocks = [x.reshape(count // block, block, *x.shape[1:]) for x in (images, gradient)]
        total, _ = lax.scan(
            add_block, jnp.zeros_like(gradient, shape=(outputs, columns_of_patch)), tuple(blocks)
        )
    return total.reshape(outputs, height, width, inputs).transpose(1, 2, 3, 0)
