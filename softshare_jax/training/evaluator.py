"""Evaluates an unshared network on the data of a task."""

import collections
import functools
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from softshare_jax.training import mesh as mesh_lib
from softshare_jax.training.steps import EvalStep
from softshare_jax.training.tasks.batching import Batching
from softshare_jax.training.tasks.task import Split, Task


class Evaluator:
    """Evaluates the variables of an unshared network in batches, over the devices of a mesh."""

    def __init__(self, network: nn.Module, task: Task, batching: Batching):
        """Creates an evaluator; nothing is computed yet.

        Args:
            network: the unshared network.
            task: data, loss and metrics.
            batching: the run's batching.
        """
        self._network, self._task, self._batching = network, task, batching

    def evaluate(self, dense: dict[str, Any], phase: int, split: Split | None = None) -> dict[str, float]:
        """Returns the metrics over every example of a phase.

        Args:
            dense: variables as ``sharing.to_dense`` returns them.
            phase: phase of the curriculum.
            split: ``None`` for the one that is evaluated during training.
        """
        batches = self._evaluated(dense, phase, split or self._task.evaluated)
        ((metrics, _),) = collections.deque(batches, maxlen=1)
        return _scores(metrics)

    def test(self, dense: dict[str, Any], phase: int) -> tuple[dict[str, float], np.ndarray]:
        """Returns metrics and logits ``[N, ...]`` on all test examples of a phase.

        Only for a job of one process: a process cannot read the devices of others.
        """
        metrics, logits = zip(*self._evaluated(dense, phase, "test"), strict=True)
        return _scores(metrics[-1]), np.concatenate(logits)[: self._task.size("test", phase)]

    def predict(self, dense: dict[str, Any], phase: int, number: int) -> np.ndarray:
        """Returns the logits of the first ``number`` test examples of a phase, ``[number, ...]``.

        Only for a job of one process, like ``test``.
        """
        batches = itertools.islice(self._evaluated(dense, phase, "test"), -(-number // self._batching.size))
        return np.concatenate([logits for _, logits in batches])[:number]

    def _evaluated(self, dense: dict[str, Any], phase: int, split: Split) -> Iterator[tuple[Any, jax.Array]]:
        """Yields batch by batch the metrics of all batches so far, and the logits."""
        metrics = mesh_lib.place(self._batching.mesh, self._task.metrics.empty())
        for batch, mask in self._task.eval_batches(self._batching, split, phase):
            metrics, logits = self._step(dense, metrics, batch, mask)
            yield metrics, logits

    @functools.cached_property
    def _step(self):
        mesh, measure = self._batching.mesh, EvalStep(self._network, self._task)

        def step(dense, metrics, batch, mask):
            new, logits = measure(dense, batch, mask)
            return metrics.merge(new), logits

        return jax.jit(step, out_shardings=(mesh_lib.replicated(mesh), mesh_lib.split(mesh)))


def _scores(metrics: Any) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.compute().items()}
