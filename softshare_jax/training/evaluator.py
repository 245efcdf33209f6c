"""Evaluation of an unshared network on the data of a task."""

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from softshare_jax.training import mesh as mesh_lib
from softshare_jax.training.steps import EvalStep
from softshare_jax.training.tasks.batching import Batching
from softshare_jax.training.tasks.task import Split, Task


class Evaluator:
    """Evaluates the variables of an unshared network, batch by batch, over the devices of a mesh."""

    def __init__(self, network: nn.Module, task: Task, batching: Batching):
        """Nothing is computed yet.

        Args:
            network: whose variables are evaluated.
            task: data, loss and metrics.
            batching: of the run.
        """
        self._network, self._task, self._batching = network, task, batching

    def evaluate(self, dense: dict[str, Any], phase: int, split: Split | None = None) -> dict[str, float]:
        """Returns the metrics over every example of a phase.

        Args:
            dense: variables as ``sharing.to_dense`` returns them.
            phase: whose examples.
            split: ``None`` for the one that is evaluated during training.
        """
        batches = self._evaluated(dense, phase, split or self._task.evaluated)
        return self._scores(measured for measured, _ in batches)

    def test(self, dense: dict[str, Any], phase: int) -> tuple[dict[str, float], np.ndarray]:
        """Returns metrics and logits ``[N, ...]`` on all test examples of a phase.

        In one process only: no process can read what other processes' devices hold.
        """
        measured, logits = zip(*self._evaluated(dense, phase, "test"), strict=True)
        return self._scores(measured), np.concatenate(logits)[: self._task.size("test", phase)]

    def predict(self, dense: dict[str, Any], phase: int, number: int) -> np.ndarray:
        """Returns the logits of the first ``number`` test examples of a phase, ``[number, ...]``.

        In one process only, as ``test``.
        """
        batches = itertools.islice(self._evaluated(dense, phase, "test"), -(-number // self._batching.size))
        return np.concatenate([logits for _, logits in batches])[:number]

    def _evaluated(self, dense: dict[str, Any], phase: int, split: Split) -> Iterator[tuple[Any, jax.Array]]:
        """Yields metrics and logits batch by batch."""
        for batch, mask in self._task.eval_batches(self._batching, split, phase):
            yield self._step(dense, batch, mask)

    def _scores(self, measured: Iterable[Any]) -> dict[str, float]:
        """Returns the metrics of all batches together."""
        metrics = mesh_lib.place(self._batching.mesh, self._task.metrics.empty())
        for one in measured:
            metrics = metrics.merge(one)
        return {name: float(value) for name, value in metrics.compute().items()}

    @functools.cached_property
    def _step(self):
        mesh = self._batching.mesh
        shardings = mesh_lib.replicated(mesh), mesh_lib.split(mesh)
        return jax.jit(EvalStep(self._network, self._task), out_shardings=shardings)
