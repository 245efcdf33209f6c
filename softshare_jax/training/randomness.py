"""Where all randomness of a run comes from."""

import zlib

import jax
import numpy as np


def stream(seed: int, name: str, step: int | jax.Array = 0) -> jax.Array:
    """Returns the random key of a named stream at a step: all randomness of a run is one of these."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode())), step)


def host_stream(seed: int, name: str, step: int = 0) -> np.random.Generator:
    """Returns the same for what the host computes: a generator of numpy."""
    sequence = np.random.SeedSequence([seed % 2**32, zlib.crc32(name.encode()), step])
    return np.random.Generator(np.random.Philox(sequence))
