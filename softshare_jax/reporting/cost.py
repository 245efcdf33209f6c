"""What a run cost: time and devices."""

from softshare_jax.reporting.collect import Run
from softshare_jax.runs.records import SECONDS


def seconds(run: Run, step: int | None = None) -> float | None:
    """Returns the wall-clock time spent up to a step, or to the end; ``None`` where it is not recorded."""
    spent = [
        record[SECONDS]
        for record in run.metrics
        if isinstance(record.get(SECONDS), float | int) and (step is None or record["step"] <= step)
    ]
    return spent[-1] if spent else None


def duration(spent: float) -> str:
    """Returns seconds in the unit that suits them: ``'48 s'``, ``'12 min'``, ``'3.4 h'``."""
    if spent < 100:
        return f"{spent:.0f} s"
    if spent < 100 * 60:
        return f"{spent / 60:.0f} min"
    return f"{spent / 3600:.1f} h"


def devices(run: Run) -> str:
    """Returns what a run was trained on, ``'1 × cpu'``, in turn where it went on elsewhere."""
    return ", then ".join(dict.fromkeys(f"{one['devices']} × {one['device']}" for one in run.devices))
