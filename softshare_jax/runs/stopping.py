"""Stops a run on a signal."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from softshare_jax.shell import ending


class StopRequest:
    """A request to stop, set by the first signal that it handles and truthy from then on.

    Attributes:
        number: number of that signal. Without one it is SIGTERM, also if another process of the job was
            asked to stop.
    """

    def __init__(self):
        self._set = False
        self.number: int = signal.SIGTERM
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self._set

    def answer(self, number: int) -> None:
        """Handles a signal as a request from now on, unless one was made already."""
        if not self._set and number not in self._before:
            if number == signal.SIGINT:
                ending.spare_interrupts(1)
            self._before[number] = signal.signal(number, self.set)

    def set(self, number: int, *_) -> None:
        """Asks the run to stop; a second signal then has its original effect."""
        self._set, self.number = True, number
        self.restore()

    def restore(self) -> None:
        """Restores the original signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Turns SIGTERM into a request that the loop polls after each dispatch.

    Schedulers send SIGTERM before they take a machine away; the loop then saves and stops. Ctrl-C does the
    same once the loop handles it; before the first step there is nothing to save.
    """
    request = StopRequest()
    request.answer(signal.SIGTERM)
    try:
        yield request
    finally:
        request.restore()
        ending.spare_interrupts(0)
