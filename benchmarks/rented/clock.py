"""How the minutes of a rented machine are spent."""

import time
from typing import NamedTuple


class Clock(NamedTuple):
    """The time that was asked for.

    Attributes:
        began: when the command began (``time.time()``).
        seconds: how long it may take.
    """

    began: float
    seconds: float

    @property
    def measured(self) -> float:
        """When the last measurement begins."""
        return self.began + 0.25 * self.seconds

    @property
    def cut(self) -> float:
        """When a measurement that has not ended is killed."""
        return self.began + 0.5 * self.seconds

    @property
    def saving(self) -> float:
        """Seconds to save a checkpoint and write the results, at the end."""
        return min(60.0, 0.1 * self.seconds)

    @property
    def trained(self) -> float:
        """When training is asked to stop."""
        return self.began + self.seconds - self.saving

    @property
    def left(self) -> float:
        """Seconds until then."""
        return self.trained - time.time()

    @property
    def starts(self) -> bool:
        """Whether a run is still worth starting: it has to compile first."""
        return self.left > min(60.0, 0.05 * self.seconds)
