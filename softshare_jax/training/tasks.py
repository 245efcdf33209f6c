"""Tasks: data, loss and metrics, as plain functions for the loop."""

import functools
import zlib
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from clu import metrics as clu_metrics

from softshare_jax.data import shortest_paths
from softshare_jax.training import config as config_lib
from softshare_jax.training.metrics import PathMetrics

Split = Literal["train", "test"]


def stream(seed: int, name: str, step: int | jax.Array = 0) -> jax.Array:
    """Returns the random key of a named stream at a step: all randomness of a run is one of these."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode())), step)


class ShortestPathsTask:
    """Shortest paths with a curriculum: the window around the first point grows phase by phase.

    Attributes:
        phases: number of phases.
        score: the metric by which a model is judged; larger is better.
        input_shape: one example, ``(H, W, C)``.
        metrics: what is measured on a batch.
    """

    score = "f1"
    metrics: type[clu_metrics.Collection] = PathMetrics

    def __init__(self, data: config_lib.ShortestPaths, seed: int):
        self._data, self._seed = data, seed
        self.phases = len(data.windows)
        self.input_shape = (data.side, data.side, 2)

    def phase_name(self, phase: int) -> str:
        """Returns what to call a phase, such as ``'window 9x9'``."""
        window = self._data.windows[phase]
        return f"window {window}x{window}"

    @functools.lru_cache(maxsize=8)  # noqa: B019 (a task lives as long as its process)
    def load(self, split: Split, phase: int) -> dict[str, jax.Array]:
        """Returns a split of a phase as device arrays.

        ``images`` ``[N, H, W, 2]`` uint8 and ``labels`` ``[N, H, W]`` uint8; the same at each call.
        """
        data = self._data
        number = data.train_examples if split == "train" else data.test_examples
        key = stream(self._seed, f"shortest paths {split}", phase)
        return shortest_paths.generate(key, number, data.side, data.density, data.windows[phase])

    def inputs(self, batch: dict[str, jax.Array]) -> jax.Array:
        """Returns what the network sees, ``[B, H, W, C]`` float32."""
        return batch["images"].astype(jnp.float32)

    def loss(self, logits: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
        """Returns the loss of each example ``[B]``: binary cross-entropy, in nats a pixel."""
        labels = batch["labels"].astype(jnp.float32)
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, labels), axis=(1, 2))
