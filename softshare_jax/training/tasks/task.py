"""What the loop needs to know about a task."""

import abc
from typing import Literal

import jax
from clu import metrics as clu_metrics

Split = Literal["train", "validation", "test"]
Batch = dict[str, jax.Array]


class Task(abc.ABC):
    """Data, loss and metrics. Data sets are device arrays of plain numbers, ``images`` and ``labels``.

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
    def load(self, split: Split, phase: int) -> Batch:
        """Returns a split of a phase, ``[N, ...]`` for each name; the same at each call."""

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
