"""What jax finds on this machine."""

import os
from typing import Any

import jax

from softshare_jax.description import chips


def find() -> dict[str, Any]:
    """Returns JSON values: the devices, their memory and peak, and the host.

    ``memory_bytes`` is what jax may use of one device, and ``peak`` its operations per second in bfloat16;
    each is ``None`` if it is not known.
    """
    device = jax.devices()[0]
    stats = device.memory_stats() or {}  # CPUs and some plugins have none
    chip = chips.of_kind(device.device_kind)
    return {
        "platform": device.platform,
        "kind": device.device_kind,
        "number": jax.device_count(),
        "memory_bytes": stats.get("bytes_limit"),
        "peak": chip.flops if chip else None,
        "host_cores": len(os.sched_getaffinity(0)),
        "jax": jax.__version__,
    }


def line(found: dict[str, Any]) -> str:
    """Returns what was found, in a line."""
    memory, peak = found["memory_bytes"], found["peak"]
    return ", ".join(
        [
            f"{found['number']} × {found['kind']} ({found['platform']})",
            f"{memory / 2**30:.1f} GiB for jax on each" if memory else "memory not known",
            f"peak {peak / 1e12:.0f} TFLOP/s in bfloat16" if peak else "peak not known, so no share of it",
            f"{found['host_cores']} host cores",
            f"jax {found['jax']}",
        ]
    )
