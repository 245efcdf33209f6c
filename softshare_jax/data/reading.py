"""Batches from the host: read and decoded ahead of time, in threads."""

import os
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

HostBatch = dict[str, np.ndarray]


def read_batches(
    example: Callable[[int], dict[str, Any]],
    batches: range,
    batch_size: int,
    rows: np.ndarray,
    threads: int = 0,
) -> Generator[HostBatch]:
    """Yields this process's share of global batches, in order.

    An example is a function of its position in the run, so neither where the reading starts nor how many
    processes read, nor how many threads, changes what a batch holds. Threads suffice: decoding and resizing
    let go of the interpreter's lock. What is read ahead is up to four batches.

    Args:
        example: position, the number of a batch times ``batch_size`` plus a row, to arrays by name.
        batches: numbers of the batches.
        batch_size: B, rows of a global batch.
        rows: those that this process reads, ``[b]``, from 0 to B - 1.
        threads: 0 for as many as there are cores.

    Yields:
        Arrays ``[b, ...]`` by name.
    """
    import grain  # a second that commands without such data need not wait for
    from grain.experimental import ThreadPrefetchIterDataset

    def at(place: int) -> dict[str, Any]:
        batch, row = divmod(place, len(rows))
        return example(batches[batch] * batch_size + int(rows[row]))

    threads = threads or os.cpu_count() or 1
    # Twice as many examples as there are threads at work, or they would wait for the slowest one.
    ahead = max(2 * len(rows), 2 * threads)
    examples = grain.MapDataset.range(len(batches) * len(rows)).map(at)
    dataset = examples.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead))
    iterator = iter(ThreadPrefetchIterDataset(dataset.batch(len(rows)), prefetch_buffer_size=2))
    try:
        yield from iterator
    finally:
        iterator.close()
