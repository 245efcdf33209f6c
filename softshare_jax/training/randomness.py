"""The source of all randomness of a run."""

import zlib

import jax
import numpy as np

# Fixed, because JAX_DEFAULT_PRNG_IMPL changes jax's default.
IMPLEMENTATION = "threefry2x32"


def key(seed: int) -> jax.Array:
    """Returns the random key of a seed, independent of jax's default implementation."""
    return jax.random.key(seed, impl=IMPLEMENTATION)


def stream(seed: int, name: str, step: int | jax.Array = 0) -> jax.Array:
    """Returns the random key of a named stream at a step. All randomness of a run uses such keys."""
    return jax.random.fold_in(jax.random.fold_in(key(seed), zlib.crc32(name.encode())), step)


def host_stream(seed: int, name: str, step: int = 0) -> np.random.Generator:
    """Returns a NumPy generator of a named stream at a step, for randomness on the host."""
    sequence = np.random.SeedSequence([seed % 2**32, zlib.crc32(name.encode()), step])
    return np.random.Generator(np.random.Philox(sequence))
