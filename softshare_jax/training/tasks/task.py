"""The interface of a task to the training loop."""

import abc
from collections.abc import Generator, Iterator
from typing import Literal

import jax
import numpy as np
from clu import metrics as clu_metrics

from softshare_jax.data.identity import DataSet
from softshare_jax.data.reading import HostBatch
from softshare_jax.training import mesh as mesh_lib
from softshare_jax.training.tasks.batching import (
    Batch,
    Batching,
    Fed,
    Feed,
    ResidentFeed,
    StreamedFeed,
    resident_batches,
    streamed_batches,
)

Split = Literal["train", "validation", "test"]


class Task(abc.ABC):
    """Data, loss and metrics. Examples have the arrays ``images`` and ``labels``.

    The data sets of a ``ResidentTask`` stay on the device; the batches of a ``StreamedTask`` come from the
    host. Code outside this module does not depend on which.

    Attributes:
        phases: number of phases of a curriculum; 1 without one.
        phase_duration: duration of each phase except the last; ``None`` without a curriculum.
        score: metric for model selection; larger is better.
        input_shape: shape of an example, ``(H, W, C)``.
        classes: number of classes; ``None`` if the task is not classification.
        metrics: metrics of a batch.
        evaluated: the split that is evaluated during training.
        steps_per_dispatch: maximum number of steps per dispatch; ``None`` for any number.
    """

    phases: int = 1
    phase_duration: str | None = None
    score: str
    input_shape: tuple[int, int, int]
    classes: int | None = None
    metrics: type[clu_metrics.Collection]
    evaluated: Split = "test"
    steps_per_dispatch: int | None = None

    def prepare(self) -> None:  # noqa: B027 (a task may have nothing to do)
        """Checks that the data can be read, and downloads them if needed."""

    @abc.abstractmethod
    def phase_name(self, phase: int) -> str:
        """Returns the name of a phase."""

    def data_set(self) -> DataSet | None:
        """Returns what the images are; ``None`` if they are generated, or too many to tell."""
        return None

    def class_names(self) -> list[str] | None:
        """Returns the names of the classes, by label; ``None`` if the task is not classification."""
        return None

    @abc.abstractmethod
    def size(self, split: Split, phase: int) -> int:
        """Returns the number of examples of a split of a phase."""

    @abc.abstractmethod
    def first(self, split: Split, phase: int, number: int) -> HostBatch:
        """Returns the first examples of a split of a phase, at most ``number``."""

    @abc.abstractmethod
    def inputs(self, batch: Batch) -> jax.Array:
        """Returns the network's inputs, ``[B, H, W, C]`` float32."""

    def augment(self, key: jax.Array, inputs: jax.Array) -> jax.Array:
        """Returns augmented inputs for training, a pure function of a key."""
        del key
        return inputs

    @abc.abstractmethod
    def loss(self, logits: jax.Array, batch: Batch, train: bool = False) -> jax.Array:
        """Returns the loss of each example ``[B]``, as in training if ``train``."""

    @abc.abstractmethod
    def feed(self, batching: Batching, steps: range, phase: int | None = None) -> Feed:
        """Returns a feed for these training steps; the caller closes it.

        Args:
            batching: the run's batching.
            steps: steps of the run.
            phase: a fixed phase; ``None`` for the phase of each step.
        """

    @abc.abstractmethod
    def fed_shapes(self, batching: Batching) -> Fed:
        """Returns shapes, dtypes and shardings of the output of a feed."""

    @abc.abstractmethod
    def eval_batches(self, batching: Batching, split: Split, phase: int) -> Iterator[tuple[Batch, jax.Array]]:
        """Yields every example of a split once, in batches on the devices, with a mask ``[B]``.

        The mask is false for the padding of the last batch.
        """

    def _example_shapes(self, number: int, sharding: jax.sharding.Sharding) -> Batch:
        """Returns the abstract arrays of ``number`` examples."""
        answer, dtype = ((), np.int32) if self.classes else (self.input_shape[:-1], np.uint8)
        images = jax.ShapeDtypeStruct((number, *self.input_shape), np.uint8, sharding=sharding)
        labels = jax.ShapeDtypeStruct((number, *answer), dtype, sharding=sharding)
        return {"images": images, "labels": labels}  # type: ignore[dict-item]


class ResidentTask(Task):
    """A task whose data sets are arrays on the device; batches are gathered there."""

    train_examples: int

    @abc.abstractmethod
    def load(self, split: Split, phase: int) -> Batch:
        """Returns a split of a phase, ``[N, ...]`` for each name; the same at each call."""

    def size(self, split: Split, phase: int) -> int:
        """Returns the number of examples of a split of a phase."""
        return len(self.load(split, phase)["images"])

    def first(self, split: Split, phase: int, number: int) -> HostBatch:
        """Returns the first examples of a split of a phase, at most ``number``."""
        return {name: np.asarray(array[:number]) for name, array in self.load(split, phase).items()}

    def feed(self, batching: Batching, steps: range, phase: int | None = None) -> ResidentFeed:
        """Returns a feed for training steps."""
        del steps
        return ResidentFeed(lambda phase: self.load("train", phase), batching, self.train_examples, phase)

    def fed_shapes(self, batching: Batching) -> Fed:
        """Returns shapes, dtypes and shardings of the output of a feed."""
        whole, number = mesh_lib.replicated(batching.mesh), self.train_examples
        order = jax.ShapeDtypeStruct((number,), np.int32, sharding=whole)
        return Fed(self._example_shapes(number, whole), order)  # type: ignore[arg-type]

    def eval_batches(self, batching: Batching, split: Split, phase: int) -> Iterator[tuple[Batch, jax.Array]]:
        """Yields every example of a split once, in batches on the devices, with a mask ``[B]``."""
        return resident_batches(self.load(split, phase), batching)


class StreamedTask(Task):
    """A task of one phase whose batches are read by the host, step by step."""

    # Every batch needs a transfer.
    steps_per_dispatch = 1

    @abc.abstractmethod
    def train_batches(self, steps: range, batch_size: int, rows: np.ndarray) -> Generator[HostBatch]:
        """Yields the training batches of these steps, each ``[b, ...]``.

        A batch is a function of the seed and the step.

        Args:
            steps: steps of the run.
            batch_size: B, size of the global batch.
            rows: rows of the global batch that this process holds, ``[b]``.
        """

    @abc.abstractmethod
    def batches(self, split: Split, batch_size: int, rows: np.ndarray) -> Generator[HostBatch]:
        """Yields every example of a split once, in order, as evaluation sees it.

        A batch also has ``mask`` ``[b]``, false for the padding of the last batch.
        """

    def first(self, split: Split, phase: int, number: int) -> HostBatch:
        """Returns the first examples of a split, at most ``number``."""
        number = min(number, self.size(split, phase))
        batches = self.batches(split, number, np.arange(number))
        batch = next(batches)
        batches.close()
        return {name: array for name, array in batch.items() if name != "mask"}

    def feed(self, batching: Batching, steps: range, phase: int | None = None) -> StreamedFeed:
        """Returns a feed for these training steps."""
        del phase
        batches = self.train_batches(steps, batching.size, batching.local_rows())
        return StreamedFeed(batches, batching, steps.start)

    def fed_shapes(self, batching: Batching) -> Fed:
        """Returns shapes, dtypes and shardings of the output of a feed."""
        return Fed(self._example_shapes(batching.size, mesh_lib.split(batching.mesh)), None)

    def eval_batches(self, batching: Batching, split: Split, phase: int) -> Iterator[tuple[Batch, jax.Array]]:
        """Yields every example of a split once, in batches on the devices, with a mask ``[B]``."""
        del phase
        return streamed_batches(self.batches(split, batching.size, batching.local_rows()), batching)
