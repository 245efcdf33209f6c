"""Where the examples of a step come from: the device, which holds the data set, or the host."""

from typing import NamedTuple

import jax

from softshare_jax.training import mesh as mesh_lib
from softshare_jax.training.experiment import Experiment
from softshare_jax.training.steps import Batch
from softshare_jax.training.streaming import local_rows, to_devices
from softshare_jax.training.tasks import StreamedTask


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

    def __init__(self, experiment: Experiment, phase: int | None = None):
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

    def __init__(self, experiment: Experiment, task: StreamedTask, start: int, stop: int):
        self._sharding, self._size = mesh_lib.split(experiment.mesh), experiment.config.batch_size
        rows = local_rows(self._sharding, self._size)
        self._batches = task.train_batches(range(start, stop), self._size, rows)
        self._next = start

    def at(self, step: int) -> Fed:
        """Returns the batch of a step, on the devices; steps are asked for in turn."""
        assert step == self._next, f"the batch at hand is that of step {self._next}, not {step}"
        self._next += 1
        return Fed(to_devices(next(self._batches), self._sharding, self._size), None)

    def close(self) -> None:
        """Stops reading ahead."""
        self._batches.close()  # type: ignore[attr-defined]


Feed = ResidentFeed | StreamedFeed


def make_feed(experiment: Experiment, start: int, stop: int, phase: int | None = None) -> Feed:
    """Returns what feeds the steps from ``start`` to before ``stop``; to be closed.

    Args:
        experiment: of the run.
        start, stop: steps of the run.
        phase: whose examples; ``None`` for the one of each step.
    """
    if isinstance(experiment.task, StreamedTask):
        return StreamedFeed(experiment, experiment.task, start, stop)
    return ResidentFeed(experiment, phase)
