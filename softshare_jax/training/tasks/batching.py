"""Batches of a run: gathered on the devices from a data set, or sent there by the host."""

import dataclasses
import functools
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from softshare_jax.data.reading import HostBatch
from softshare_jax.training import mesh as mesh_lib
from softshare_jax.training.randomness import stream
from softshare_jax.training.schedule import Schedule

Batch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Batching:
    """How a run's batches are drawn, and where they are placed.

    Attributes:
        mesh: the devices.
        size: B, examples per batch over all devices.
        seed: the run's seed.
        schedule: the run's schedule.
    """

    mesh: Mesh
    size: int
    seed: int
    schedule: Schedule

    def local_rows(self) -> np.ndarray:
        """Returns the rows of a global batch that this process's devices hold, ``[b]`` in order."""
        places = mesh_lib.split(self.mesh).addressable_devices_indices_map((self.size,)).values()
        parts: set[Any] = {place[0].indices(self.size)[:2] for place in places if place is not None}
        return np.concatenate([np.arange(*part) for part in sorted(parts)])

    def place(self, batch: HostBatch) -> Batch:
        """Places this process's rows of a global batch on its devices."""
        sharding = mesh_lib.split(self.mesh)
        return {
            name: jax.make_array_from_process_local_data(sharding, array, (self.size, *array.shape[1:]))
            for name, array in batch.items()
        }


class Fed(NamedTuple):
    """The source of the examples of a training step; see ``take``.

    Attributes:
        data: arrays ``[N, ...]`` of a data set by name or, without an order, the batch itself.
        order: the epoch's permutation ``[N]``, or ``None``.
    """

    data: Batch
    order: jax.Array | None


def take(fed: Fed, step: jax.Array, size: int) -> Batch:
    """Returns the batch of a step.

    Args:
        fed: the output of a feed.
        step: number of steps that the whole run has taken before.
        size: B; an epoch leaves out the last N mod B examples of its order.
    """
    data, order = fed
    if order is None:
        return data
    start = (step % (order.size // size)) * size
    chosen = jax.lax.dynamic_slice_in_dim(order, start, size)
    return {name: array[chosen] for name, array in data.items()}


class Feed(Protocol):
    """Feeds the training steps of a run, in order."""

    def at(self, step: int) -> Fed:
        """Returns the source of the examples of a step; ``step`` is the number of steps taken before."""

    def close(self) -> None:
        """Stops reading ahead."""


class ResidentFeed:
    """Feeds from data sets that stay on the devices, in a new order for each epoch."""

    def __init__(self, load: Callable[[int], Batch], batching: Batching, number: int, phase: int | None):
        """Creates a feed; nothing is loaded yet.

        Args:
            load: phase -> training examples, arrays ``[N, ...]`` by name.
            batching: the run's batching.
            number: N.
            phase: a fixed phase; ``None`` for the phase of each step.
        """
        self._load, self._batching, self._number, self._phase = load, batching, number, phase
        self._held: tuple[int, int] | None = None

    def at(self, step: int) -> Fed:
        """Returns the data of the step's phase and the order of its epoch."""
        schedule = self._batching.schedule
        phase = schedule.phase_at(step) if self._phase is None else self._phase
        epoch = step // schedule.epoch
        held, self._held = self._held, (phase, epoch)
        if held is None or held[0] != phase:
            self._data = mesh_lib.place(self._batching.mesh, self._load(phase))
        if held is None or held[1] != epoch:
            self._order = self._epoch_order(epoch)
        return Fed(self._data, self._order)

    def close(self) -> None:
        """Does nothing; the task keeps the data."""

    @functools.cached_property
    def _epoch_order(self):
        def permutation(epoch):
            return jax.random.permutation(stream(self._batching.seed, "order", epoch), self._number)

        return jax.jit(permutation, out_shardings=mesh_lib.replicated(self._batching.mesh))


class StreamedFeed:
    """Feeds batches that the host reads ahead."""

    def __init__(self, batches: Generator[HostBatch], batching: Batching, start: int):
        self._batches, self._batching, self._next = batches, batching, start

    def at(self, step: int) -> Fed:
        """Returns the batch of a step, on the devices."""
        assert step == self._next, f"the next batch is for step {self._next}, not {step}"
        self._next += 1
        return Fed(self._batching.place(next(self._batches)), None)

    def close(self) -> None:
        """Stops reading ahead."""
        self._batches.close()


def resident_batches(data: Batch, batching: Batching) -> Iterator[tuple[Batch, jax.Array]]:
    """Yields every example of a data set ``[N, ...]`` once, in batches, with a mask ``[B]``.

    The mask is false for the padding of the last batch.
    """
    data = mesh_lib.place(batching.mesh, data)
    part = _compiled_part(batching.mesh, batching.size)
    for start in range(0, len(data["images"]), batching.size):
        yield part(data, start)


@functools.lru_cache(maxsize=8)  # a run evaluates many times but compiles once
def _compiled_part(mesh: Mesh, size: int):
    """Returns the compiled ``(data set, start) -> (batch, mask)``."""

    def part(data: Batch, start: jax.Array) -> tuple[Batch, jax.Array]:
        number = len(data["images"])
        index = start + jnp.arange(size)
        return {name: array[jnp.minimum(index, number - 1)] for name, array in data.items()}, index < number

    return jax.jit(part, out_shardings=mesh_lib.split(mesh))


def streamed_batches(batches: Generator[HostBatch], batching: Batching) -> Iterator[tuple[Batch, jax.Array]]:
    """Yields host batches on the devices, each with its mask ``[B]``."""
    try:
        for host in batches:
            batch = batching.place(host)
            mask = batch.pop("mask")
            yield batch, mask
    finally:
        batches.close()
