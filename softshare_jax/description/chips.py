"""Peak figures of TPU chips, and the roofline of a step."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Chip(NamedTuple):
    """The peak figures of a chip.

    Attributes:
        flops: bfloat16 operations per second; a multiplication and an addition count as two.
        memory: bytes of HBM.
        memory_rate: bytes per second to and from HBM.
        link_rate: bytes per second to the neighboring chips, over all links, in one direction.
    """

    flops: float
    memory: float
    memory_rate: float
    link_rate: float


# By the part of a topology's name before the colon. The pages give link rates in bits, over all links.
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
    """Returns a lower bound of a step's seconds for each of a chip's three limits.

    The bound excludes latency, which dominates small collectives. With n chips, an all-reduce moves
    2 (n - 1) / n of an array over a chip's links; a scatter or gather moves half of that (Patarasuk &
    Yuan 2009).

    Args:
        chip: peak figures of the chip.
        flops: operations of one chip in a step.
        memory_bytes: bytes that one chip reads and writes in a step.
        collectives: result of ``collectives.summarize``.
        devices: number of chips, n.

    Returns:
        ``compute``, ``memory``, ``links``, and ``step``, their maximum.
    """
    share = (devices - 1) / devices
    moved = sum(row["bytes"] * share * (2 if row["kind"] == "all-reduce" else 1) for row in collectives)
    limits = {
        "compute": flops / chip.flops,
        "memory": memory_bytes / chip.memory_rate,
        "links": moved / chip.link_rate,
    }
    return {**limits, "step": max(limits.values())}
