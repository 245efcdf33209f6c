"""The line that says how a run is getting on."""

import datetime
import time
from collections.abc import Mapping


class Progress:
    """Measures the rate since it was made and says when the run will end."""

    def __init__(self, step: int, last: int):
        self._start, self._last = step, last
        self._time = time.monotonic()

    def line(self, step: int, where: str, scalars: Mapping[str, float]) -> str:
        """Returns one line: step, place in the curriculum, metrics, steps a second, time left."""
        elapsed = time.monotonic() - self._time
        rate = (step - self._start) / elapsed if elapsed > 0 else 0.0
        left = datetime.timedelta(seconds=round((self._last - step) / rate)) if rate else "?"
        values = "  ".join(f"{name} {value:.4g}" for name, value in scalars.items())
        return f"step {step}/{self._last}  {where}  {values}  {rate:.3g} steps/s  {left} left"
