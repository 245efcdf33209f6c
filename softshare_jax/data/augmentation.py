"""Augmentation of image batches: pure functions of a key, for use inside a jitted step."""

import jax
import jax.numpy as jnp


def normalize(images: jax.Array, mean: tuple[float, ...], std: tuple[float, ...]) -> jax.Array:
    """Returns uint8 images ``[B, H, W, C]`` as normalized float32; mean and std are on the scale 0 to 255."""
    return (images.astype(jnp.float32) - jnp.array(mean)[None, None, None]) / jnp.array(std)[None, None, None]


def flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Flips each image ``[B, H, W, C]`` left to right with probability 1/2."""
    mirrored = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def crop(key: jax.Array, images: jax.Array, padding: int, fill: jax.Array) -> jax.Array:
    """Shifts each image ``[B, H, W, C]`` by up to ``padding`` pixels in both directions.

    Args:
        key: random key.
        images: of any dtype.
        padding: largest shift in pixels.
        fill: color of the border, ``[C]``.
    """
    batch, height, width, channels = images.shape
    frame = (batch, height + 2 * padding, width + 2 * padding, channels)
    padded = jnp.broadcast_to(fill.astype(images.dtype)[None, None, None], frame)
    padded = padded.at[:, padding:-padding, padding:-padding].set(images)
    corners = jax.random.randint(key, (batch, 2), 0, 2 * padding + 1)

    def cut(image, corner):
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (height, width, channels))

    return jax.vmap(cut)(padded, corners)


def cutout(key: jax.Array, images: jax.Array, side: int) -> jax.Array:
    """Zeroes a square hole in each image ``[B, H, W, C]`` (DeVries & Taylor 2017).

    The center of the hole is uniform over the image. A hole is clipped at the border.

    Args:
        key: random key.
        images: normalized images, so that zero is the mean.
        side: side of the hole in pixels.
    """
    batch, height, width, _ = images.shape
    rows, columns = jax.random.split(key)
    top = jax.random.randint(rows, (batch, 1), 0, height) - side // 2
    left = jax.random.randint(columns, (batch, 1), 0, width) - side // 2
    y, x = jnp.arange(height)[None], jnp.arange(width)[None]
    across = (y >= top) & (y < top + side)
    down = (x >= left) & (x < left + side)
    hole = across[:, :, None] & down[:, None, :]
    return jnp.where(hole[..., None], 0.0, images)
