"""A plain network measured on the data of a task."""

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from softshare_jax.training import mesh as mesh_lib
from softshare_jax.training.steps import make_eval_step
from softshare_jax.training.streaming import streamed_batches
from softshare_jax.training.tasks import ResidentTask, Split, StreamedTask, Task


class Evaluator:
    """Measures plain networks, batch by batch, over the devices of a mesh."""

    def __init__(self, network: nn.Module, task: Task, mesh: Mesh, batch_size: int):
        """Nothing is computed yet.

        Args:
            network: whose variables are measured.
            task: data, loss and metrics.
            mesh: of the run.
            batch_size: over all devices.
        """
        self._network, self._task, self._mesh, self._batch_size = network, task, mesh, batch_size

    def evaluate(self, plain: dict[str, Any], phase: int, split: Split | None = None) -> dict[str, float]:
        """Returns the metrics of a plain network over every example of a phase.

        Args:
            plain: variables as ``sharing.to_dense`` returns them.
            phase: whose examples.
            split: ``None`` for the one that is measured during training.
        """
        batches = self._evaluated(plain, phase, split or self._task.evaluated)
        return self._scores(measured for measured, _ in batches)

    def test(self, plain: dict[str, Any], phase: int) -> tuple[dict[str, float], np.ndarray]:
        """Returns metrics and logits ``[N, ...]`` of a plain network on all test examples of a phase.

        In one process alone: of several none can read what lies on the devices of others.
        """
        measured, logits = zip(*self._evaluated(plain, phase, "test"), strict=True)
        return self._scores(measured), np.concatenate(logits)[: self._task.size("test", phase)]

    def predict(self, plain: dict[str, Any], phase: int, number: int) -> np.ndarray:
        """Returns the logits of the first ``number`` test examples of a phase, ``[number, ...]``.

        In one process, as ``test``.
        """
        batches = itertools.islice(self._evaluated(plain, phase, "test"), -(-number // self._batch_size))
        return np.concatenate([logits for _, logits in batches])[:number]

    def _evaluated(self, plain: dict[str, Any], phase: int, split: Split) -> Iterator[tuple[Any, jax.Array]]:
        """Yields metrics and logits batch by batch; the last one is padded, and masked in the metrics."""
        if isinstance(self._task, StreamedTask):
            sharding, size = mesh_lib.split(self._mesh), self._batch_size
            for batch, mask in streamed_batches(self._task, split, sharding, size):
                yield self._evaluate_given(plain, batch, mask)
            return
        assert isinstance(self._task, ResidentTask)
        data = mesh_lib.place(self._mesh, self._task.load(split, phase))
        for start in range(0, len(data["images"]), self._batch_size):
            yield self._evaluate_batch(plain, data, start)

    def _scores(self, measured: Iterable[Any]) -> dict[str, float]:
        """Returns the metrics of all batches together."""
        metrics = mesh_lib.place(self._mesh, self._task.metrics.empty())
        for one in measured:
            metrics = metrics.merge(one)
        return {name: float(value) for name, value in metrics.compute().items()}

    @functools.cached_property
    def _evaluate_given(self):
        return jax.jit(make_eval_step(self._network, self._task))

    @functools.cached_property
    def _evaluate_batch(self):
        step = make_eval_step(self._network, self._task)
        everywhere, batch_sharding = mesh_lib.replicated(self._mesh), mesh_lib.split(self._mesh)

        def evaluate_batch(plain, data, start):
            index = start + jnp.arange(self._batch_size)
            number = len(data["images"])
            batch = {name: array[jnp.minimum(index, number - 1)] for name, array in data.items()}
            return step(plain, jax.lax.with_sharding_constraint(batch, batch_sharding), index < number)

        return jax.jit(evaluate_batch, out_shardings=(everywhere, batch_sharding))
