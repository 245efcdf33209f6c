"""Where the examples of a step come from: the device, which holds the data set, or the host."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding

from softshare_jax.data.reading import HostBatch
from softshare_jax.training import mesh as mesh_lib
from softshare_jax.training.steps import Batch, take_batch
from softshare_jax.training.tasks import Split, StreamedTask

if TYPE_CHECKING:
    from softshare_jax.training.experiment import Experiment


class Fed(NamedTuple):
    """What a training step gets its examples from; ``batch_of`` takes them out.

    Attributes:
        data: a data set ``[N, ...]`` for each name, or where there is no order, the batch itself.
        order: the epoch's permutation ``[N]``, or ``None``.
    """

    data: Batch
    order: jax.Array | None


class ResidentFeed:
    """Data sets that lie on the device."""

    def __init__(self, experiment: "Experiment", phase: int | None = None):
        self._experiment, self._phase = experiment, phase
        self._held: tuple[int, int] | None = None

    def at(self, step: int) -> Fed:
        """Returns the data of the step's phase, and the order of its epoch."""
        experiment = self._experiment
        phase = experiment.phase_at(step) if self._phase is None else self._phase
        epoch = step // experiment.steps_per_epoch
        held, self._held = self._held, (phase, epoch)
        if held is None or held[0] != phase:
            self._data = experiment.train_data(phase)
        if held is None or held[1] != epoch:
            self._order = experiment.epoch_order(epoch)
        return Fed(self._data, self._order)

    def close(self) -> None:
        """Does nothing: the data belong to the task."""


class StreamedFeed:
    """Batches that the host reads ahead, from a step on."""

    def __init__(self, experiment: "Experiment", task: StreamedTask, start: int, stop: int):
        self._sharding, self._size = mesh_lib.split(experiment.mesh), experiment.config.batch_size
        rows = local_rows(self._sharding, self._size)
        self._batches = task.train_batches(range(start, stop), self._size, rows)
        self._next = start

    def at(self, step: int) -> Fed:
        """Returns the batch of a step, on the devices; steps are asked for in turn."""
        assert step == self._next, f"the batch at hand is that of step {self._next}, not {step}"
        self._next += 1
        return Fed(_global(next(self._batches), self._sharding, self._size), None)

    def close(self) -> None:
        """Stops reading ahead."""
        self._batches.close()  # type: ignore[attr-defined]


Feed = ResidentFeed | StreamedFeed


def make_feed(experiment: "Experiment", start: int, stop: int, phase: int | None = None) -> Feed:
    """Returns what feeds the steps from ``start`` to before ``stop``; to be closed.

    Args:
        experiment: of the run.
        start, stop: steps of the run.
        phase: whose examples; ``None`` for the one of each step.
    """
    if isinstance(experiment.task, StreamedTask):
        return StreamedFeed(experiment, experiment.task, start, stop)
    return ResidentFeed(experiment, phase)


def batch_of(data: Batch, order: jax.Array | None, step: jax.Array, batch_size: int) -> Batch:
    """Returns the examples of a step: gathered from a data set, or those that came from the host."""
    return data if order is None else take_batch(data, order, step, batch_size)


def streamed_batches(
    experiment: "Experiment", task: StreamedTask, split: Split
) -> Iterator[tuple[Batch, jax.Array]]:
    """Yields every example of a split once, as batches on the devices, with a mask ``[B]``."""
    sharding, size = mesh_lib.split(experiment.mesh), experiment.config.batch_size
    batches = task.batches(split, size, local_rows(sharding, size))
    try:
        for host in batches:
            batch = _global(host, sharding, size)
            mask = batch.pop("mask")
            yield batch, mask
    finally:
        batches.close()  # type: ignore[attr-defined]


def local_rows(sharding: NamedSharding, batch_size: int) -> np.ndarray:
    """Returns the rows of a global batch that lie on this process's devices, ``[b]`` in order."""
    places = sharding.addressable_devices_indices_map((batch_size,)).values()
    parts: set[Any] = {place[0].indices(batch_size)[:2] for place in places if place is not None}
    return np.concatenate([np.arange(*part) for part in sorted(parts)])


def _global(batch: HostBatch, sharding: NamedSharding, size: int) -> Batch:
    return {
        name: jax.make_array_from_process_local_data(sharding, array, (size, *array.shape[1:]))
        for name, array in batch.items()
    }
