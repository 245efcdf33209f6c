"""Asking a run to stop."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from softshare_jax.shell import ending


class StopRequest:
    """Set by the first signal that it answers; truthy from then on.

    Attributes:
        number: of that signal; SIGTERM as long as there was none, as for a process that stops because
            another one of its job was asked to.
    """

    def __init__(self):
        self._set = False
        self.number: int = signal.SIGTERM
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self._set

    def answer(self, number: int) -> None:
        """Takes a signal as the request from now on, unless there was a request already."""
        if not self._set and number not in self._before:
            if number == signal.SIGINT:
                ending.spare_interrupts(1)
            self._before[number] = signal.signal(number, self.set)

    def set(self, number: int, *_) -> None:
        """Asks the run to stop, and lets a second signal end the process as it would have."""
        self._set, self.number = True, number
        self.restore()

    def restore(self) -> None:
        """Leaves signals to the handlers that they had before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Turns SIGTERM into a request that the loop sees after the step at hand.

    A scheduler that takes the machine away sends SIGTERM; the loop then saves and ends well. Ctrl-C does the
    same once the loop answers it: before the first step there is nothing to save.
    """
    request = StopRequest()
    request.answer(signal.SIGTERM)
    try:
        yield request
    finally:
        request.restore()
        ending.spare_interrupts(0)
