"""He-normal initialisation that compiles quickly."""

import math

import jax
import jax.numpy as jnp


def he_normal(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    """Draws weights ``[..., in, out]`` from a normal with variance 2 / fan-in (He et al. 2015).

    The numbers are drawn flat and then reshaped: XLA:CPU takes seconds to compile a random
    normal of rank 4 and a fifth of a second for the same bits in rank 1.
    """
    fan_in = math.prod(shape[:-1])
    return jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape) * math.sqrt(2 / fan_in)
