"""Shortest paths with a curriculum."""

import functools
from typing import cast

import jax
import jax.numpy as jnp
import optax

from softshare_jax import config as config_lib
from softshare_jax.data import shortest_paths
from softshare_jax.training.metrics import PathMetrics
from softshare_jax.training.randomness import stream
from softshare_jax.training.tasks.task import Batch, ResidentTask, Split


class ShortestPathsTask(ResidentTask):
    """Shortest paths: the window around the first point grows phase by phase."""

    score = "f1"
    metrics = PathMetrics

    def __init__(self, data: config_lib.ShortestPaths, seed: int):
        self._data, self._seed = data, seed
        self.train_examples = data.train_examples
        self.phases = len(data.windows)
        self.phase_duration = data.phase
        self.input_shape = (data.side, data.side, 3 if data.split_points else 2)

    def phase_name(self, phase: int) -> str:
        """Returns the name of a phase, such as ``'window 9x9'``."""
        window = self._data.windows[phase]
        return f"window {window}x{window}"

    @functools.lru_cache(maxsize=8)  # noqa: B019 (a task lives as long as its process)
    def load(self, split: Split, phase: int) -> Batch:
        """Returns ``images`` ``[N, H, W, C]`` and ``labels`` ``[N, H, W]``, both uint8; C is 2 or 3."""
        data = self._data
        number = data.train_examples if split == "train" else data.test_examples
        key = stream(self._seed, f"shortest paths {split}", phase)
        made = shortest_paths.generate(
            key,
            number,
            data.side,
            data.density,
            data.windows[phase],
            data.split_points,
            cast(shortest_paths.Generator, data.generator),
        )
        return {name: jnp.asarray(array) for name, array in made.items()}

    def inputs(self, batch: Batch) -> jax.Array:
        """Returns the network's inputs, ``[B, H, W, C]`` float32."""
        return batch["images"].astype(jnp.float32)

    def loss(self, logits: jax.Array, batch: Batch, train: bool = False) -> jax.Array:
        """Returns the loss of each example ``[B]``: binary cross-entropy, in nats per pixel."""
        del train
        labels = batch["labels"].astype(jnp.float32)
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, labels), axis=(1, 2))
