"""Progress lines of a run, and a line on what it shares."""

import datetime
import time
from collections.abc import Mapping

from softshare_jax.sharing import Plan

# More groups than this are summarized.
MOST_GROUPS = 12


class Progress:
    """Measures the rate since its creation and estimates when the run ends."""

    def __init__(self, step: int, last: int):
        self._start, self._last = step, last
        self._time = time.monotonic()

    def line(self, step: int, where: str, scalars: Mapping[str, float]) -> str:
        """Returns one line: step, phase of the curriculum, metrics, steps per second, time left."""
        elapsed = time.monotonic() - self._time
        rate = (step - self._start) / elapsed if elapsed > 0 else 0.0
        left = datetime.timedelta(seconds=round((self._last - step) / rate)) if rate else "?"
        values = "  ".join(f"{name} {value:.4g}" for name, value in scalars.items())
        return f"step {step}/{self._last}  {where}  {values}  {rate:.3g} steps/s  {left} left"


def describe_groups(plan: Plan) -> str:
    """Returns what a plan shares, in one line."""
    groups = plan.groups
    if len(groups) <= MOST_GROUPS:
        listed = (f"{g.name}, {g.layers} layers, {_templates(g.templates)}" for g in groups)
        return "; ".join(listed) or "nothing"
    layers, templates = ({getattr(g, what) for g in groups} for what in ("layers", "templates"))
    return f"{len(groups)} groups of {_range(layers)} layers with {_range(templates)} templates"


def _templates(number: int) -> str:
    return f"{number} template{'s' if number > 1 else ''}"


def _range(numbers: set[int]) -> str:
    return " to ".join(map(str, sorted({min(numbers), max(numbers)})))
