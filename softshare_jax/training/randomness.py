"""Where all randomness of a run comes from."""

import zlib

import jax
import numpy as np

# Not jax's default, which JAX_DEFAULT_PRNG_IMPL changes.
IMPLEMENTATION = "threefry2x32"


def key(seed: int) -> jax.Array:
    """Returns the random key of a seed, whatever jax's default kind of keys is."""
    return jax.random.key(seed, impl=IMPLEMENTATION)


def stream(seed: int, name: str, step: int | jax.Array = 0) -> jax.Array:
    """Returns the random key of a named stream at a step: all randomness of a run is one of these."""
    return jax.random.fold_in(jax.random.fold_in(key(seed), zlib.crc32(name.encode())), step)


def host_stream(seed: int, name: str, step: int = 0) -> np.random.Generator:
    """Returns the same for what the host computes: a generator of numpy."""
    sequence = np.random.SeedSequence([seed % 2**32, zlib.crc32(name.encode()), step])
    return np.random.Generator(np.random.Philox(sequence))
