"""A small network, and what training as a loop makes of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from softshare_jax.models import zoo

DEPTH = 4
IMAGES = np.random.default_rng(0).integers(0, 2, (4, 5, 5, 2)).astype(np.float32)


@functools.cache
def network():
    """Returns a network and its variables."""
    built = zoo.named(f"gated-{DEPTH}-3").build(zoo.Options())
    return built, built.init(jax.random.key(1), IMAGES)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run(loop, built, variables, images, key, step):
    return loop.run(built, variables, images, key, step)


def run(loop, key, step=0, built=None, images=IMAGES):
    """Returns what ``LoopTraining.run`` does, of a small network."""
    return _run(loop, *(built or network()), images, key, jnp.float32(step))
