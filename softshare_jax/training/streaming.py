"""Batches that the host reads, on the devices: each process has the rows of its own."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from softshare_jax.data.reading import HostBatch
from softshare_jax.training.steps import Batch
from softshare_jax.training.tasks import Split, StreamedTask


def streamed_batches(
    task: StreamedTask, split: Split, sharding: NamedSharding, size: int
) -> Iterator[tuple[Batch, jax.Array]]:
    """Yields every example of a split once, as batches of ``size`` on the devices, with a mask ``[B]``."""
    batches = task.batches(split, size, local_rows(sharding, size))
    try:
        for host in batches:
            batch = to_devices(host, sharding, size)
            mask = batch.pop("mask")
            yield batch, mask
    finally:
        batches.close()  # type: ignore[attr-defined]


def local_rows(sharding: NamedSharding, batch_size: int) -> np.ndarray:
    """Returns the rows of a global batch that lie on this process's devices, ``[b]`` in order."""
    places = sharding.addressable_devices_indices_map((batch_size,)).values()
    parts: set[Any] = {place[0].indices(batch_size)[:2] for place in places if place is not None}
    return np.concatenate([np.arange(*part) for part in sorted(parts)])


def to_devices(batch: HostBatch, sharding: NamedSharding, size: int) -> Batch:
    """Puts this process's rows of a global batch of ``size`` on its devices."""
    return {
        name: jax.make_array_from_process_local_data(sharding, array, (size, *array.shape[1:]))
        for name, array in batch.items()
    }
