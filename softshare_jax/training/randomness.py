"""Where all randomness of a run comes from."""

import zlib

import jax


def stream(seed: int, name: str, step: int | jax.Array = 0) -> jax.Array:
    """Returns the random key of a named stream at a step: all randomness of a run is one of these."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode())), step)
