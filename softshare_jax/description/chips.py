"""TPU chips: what they can do at most, and the step time that this allows."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Chip(NamedTuple):
    """The peak figures of a chip.

    Attributes:
        flops: bfloat16 operations a second, a multiplication and an addition counted as two.
        memory: bytes of HBM.
        memory_rate: bytes a second to and from HBM.
        link_rate: bytes a second to the chips around it, over all links, one way.
    """

    flops: float
    memory: float
    memory_rate: float
    link_rate: float


# By the part of a topology's name before the colon. Link rates are given there in bits of all links.
CHIPS = {
    # https://cloud.google.com/tpu/docs/v5e: 197 TFLOPs, 16 GB, 819 GBps, 1600 Gbps.
    "v5e": Chip(197e12, 16e9, 819e9, 1600e9 / 8),
    # https://cloud.google.com/tpu/docs/v5p: 459 TFLOPs, 95 GB, 2765 GBps, 4800 Gbps.
    "v5p": Chip(459e12, 95e9, 2765e9, 4800e9 / 8),
    # https://cloud.google.com/tpu/docs/v6e: 918 TFLOPs, 32 GB, 1600 GBps, 3200 Gbps.
    "v6e": Chip(918e12, 32e9, 1600e9, 3200e9 / 8),
}


def roofline(
    chip: Chip, flops: float, memory_bytes: float, collectives: Iterable[Mapping[str, Any]], devices: int
) -> dict[str, float]:
    """Returns the least seconds that a step can take on each of a chip's three limits.

    Latency is not in it, and small collectives are all latency. A chip of n sends and receives
    2 (n - 1) / n of what it reduces to all, and half as much of what it scatters or gathers
    (Patarasuk & Yuan 2009).

    Args:
        chip: its peaks.
        flops: of a chip in a step.
        memory_bytes: that a chip reads and writes in a step.
        collectives: as ``collectives.summarize`` returns them.
        devices: n.

    Returns:
        ``compute``, ``memory``, ``links``, and ``step``, the largest of them.
    """
    share = (devices - 1) / devices
    moved = sum(row["bytes"] * share * (2 if row["kind"] == "all-reduce" else 1) for row in collectives)
    limits = {
        "compute": flops / chip.flops,
        "memory": memory_bytes / chip.memory_rate,
        "links": moved / chip.link_rate,
    }
    return {**limits, "step": max(limits.values())}
