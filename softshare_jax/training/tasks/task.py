"""What the loop needs to know about a task."""

import abc
from collections.abc import Iterator
from typing import Literal

import jax
import numpy as np
from clu import metrics as clu_metrics

from softshare_jax.data.reading import HostBatch

Split = Literal["train", "validation", "test"]
Batch = dict[str, jax.Array]


class Task(abc.ABC):
    """Data, loss and metrics. Examples are plain numbers, ``images`` and ``labels``.

    A task is a ``ResidentTask``, whose data sets lie on the device, or a ``StreamedTask``, whose batches
    come from the host.

    Attributes:
        phases: number of phases of a curriculum; 1 without one.
        phase_duration: of each phase but the last, in steps or epochs; ``None`` without a curriculum.
        score: the metric by which a model is judged; larger is better.
        input_shape: one example, ``(H, W, C)``.
        classes: number of classes; ``None`` where the answer is not a class.
        metrics: what is measured on a batch.
        evaluated: the split that is measured during training.
    """

    phases: int = 1
    phase_duration: str | None = None
    score: str
    input_shape: tuple[int, int, int]
    classes: int | None = None
    metrics: type[clu_metrics.Collection]
    evaluated: Split = "test"

    def prepare(self) -> None:  # noqa: B027 (a task may have nothing to do)
        """Makes sure that the data can be read, fetching them if need be, before anything is written."""

    @abc.abstractmethod
    def phase_name(self, phase: int) -> str:
        """Returns what to call a phase."""

    def class_names(self) -> list[str] | None:
        """Returns what the classes are called, by label; ``None`` where the answer is not a class."""
        return None

    @abc.abstractmethod
    def size(self, split: Split, phase: int) -> int:
        """Returns the number of examples of a split of a phase."""

    @abc.abstractmethod
    def first(self, split: Split, phase: int, number: int) -> HostBatch:
        """Returns the first examples of a split of a phase, at most so many."""

    @abc.abstractmethod
    def inputs(self, batch: Batch) -> jax.Array:
        """Returns what the network sees, ``[B, H, W, C]`` float32."""

    def augment(self, key: jax.Array, inputs: jax.Array) -> jax.Array:
        """Returns the inputs of a training step, as a pure function of a key."""
        del key
        return inputs

    @abc.abstractmethod
    def loss(self, logits: jax.Array, batch: Batch, train: bool = False) -> jax.Array:
        """Returns the loss of each example ``[B]``, with what training adds to it where ``train``."""


class ResidentTask(Task):
    """A task whose data sets are arrays on the device; batches are gathered there."""

    @abc.abstractmethod
    def load(self, split: Split, phase: int) -> Batch:
        """Returns a split of a phase, ``[N, ...]`` for each name; the same at each call."""

    def size(self, split: Split, phase: int) -> int:
        """Returns the number of examples of a split of a phase."""
        return len(self.load(split, phase)["images"])

    def first(self, split: Split, phase: int, number: int) -> HostBatch:
        """Returns the first examples of a split of a phase, at most so many."""
        return {name: np.asarray(array[:number]) for name, array in self.load(split, phase).items()}


class StreamedTask(Task):
    """A task whose batches are read by the host, step by step; it has one phase."""

    @abc.abstractmethod
    def train_batches(self, steps: range, batch_size: int, rows: np.ndarray) -> Iterator[HostBatch]:
        """Yields the training batches of these steps, each ``[b, ...]``.

        What a batch holds is a function of the seed and the step.

        Args:
            steps: of the run.
            batch_size: B, of the global batch.
            rows: those of the global batch that this process holds, ``[b]``.
        """

    @abc.abstractmethod
    def batches(self, split: Split, batch_size: int, rows: np.ndarray) -> Iterator[HostBatch]:
        """Yields every example of a split once, in order, as evaluation sees it.

        Beside the arrays of a batch there is ``mask`` ``[b]``, false for the padding of the last one.
        """

    def first(self, split: Split, phase: int, number: int) -> HostBatch:
        """Returns the first examples of a split, at most so many."""
        number = min(number, self.size(split, phase))
        batches = self.batches(split, number, np.arange(number))
        batch = next(batches)
        batches.close()  # type: ignore[attr-defined]
        return {name: array for name, array in batch.items() if name != "mask"}
