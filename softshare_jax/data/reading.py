"""Host batches: threads read and decode examples ahead of time."""

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

    An example is a function of its position in the run. So a batch does not depend on where reading starts or
    on the number of processes and threads. Threads suffice, because decoding and resizing release the GIL.
    At most four batches are read ahead.

    Args:
        example: function from a position (batch number times ``batch_size`` plus row) to arrays by name.
        batches: numbers of the batches to yield.
        batch_size: B, rows of a global batch.
        rows: rows that this process reads, ``[b]``, from 0 to B - 1.
        threads: number of threads; 0 for one per core.

    Yields:
        Arrays ``[b, ...]`` by name.
    """
    import grain  # takes a second; commands without such data need not wait
    from grain.experimental import ThreadPrefetchIterDataset

    def at(place: int) -> dict[str, Any]:
        batch, row = divmod(place, len(rows))
        return example(batches[batch] * batch_size + int(rows[row]))

    threads = threads or os.cpu_count() or 1
    # With fewer than two examples per thread, all threads would wait for the slowest one.
    ahead = max(2 * len(rows), 2 * threads)
    examples = grain.MapDataset.range(len(batches) * len(rows)).map(at)
    dataset = examples.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead))
    iterator = iter(ThreadPrefetchIterDataset(dataset.batch(len(rows)), prefetch_buffer_size=2))
    try:
        yield from iterator
    finally:
        iterator.close()
