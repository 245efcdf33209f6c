"""Peak figures of TPU chips and GPUs, and the roofline of a step."""

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
    # https://www.nvidia.com/en-us/data-center/a100: 312 TFLOPS, 80 GB, 2039 GB/s; NVLink 600 GB/s, both ways.
    "a100": Chip(312e12, 80e9, 2039e9, 600e9 / 2),
    # https://www.nvidia.com/en-us/data-center/h100: 1979 TFLOPS if sparse, 80 GB, 3.35 TB/s; 900 GB/s.
    "h100": Chip(1979e12 / 2, 80e9, 3350e9, 900e9 / 2),
    # https://www.nvidia.com/en-us/data-center/h200: as H100, with 141 GB at 4.8 TB/s.
    "h200": Chip(1979e12 / 2, 141e9, 4800e9, 900e9 / 2),
}


# What jax calls these chips. An H100 or H200 of another form, such as PCIe, has another peak. An A100 of
# another form has the same peak, but not the same memory.
KINDS = {
    "TPU v5 lite": "v5e",
    "TPU v5e": "v5e",
    "TPU v5": "v5p",
    "TPU v5p": "v5p",
    "TPU v6 lite": "v6e",
    "TPU v6e": "v6e",
    "NVIDIA A100-SXM4-40GB": "a100",
    "NVIDIA A100-SXM4-80GB": "a100",
    "NVIDIA A100-PCIE-40GB": "a100",
    "NVIDIA A100 80GB PCIe": "a100",
    "NVIDIA H100 80GB HBM3": "h100",
    "NVIDIA H200": "h200",
}


def of_kind(kind: str) -> Chip | None:
    """Returns the chip that jax calls ``kind``; ``None`` if its figures are not known."""
    name = KINDS.get(kind)
    return None if name is None else CHIPS[name]


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
