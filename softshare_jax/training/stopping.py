"""Asking a run to stop."""

import contextlib
import signal
from collections.abc import Iterator


class StopRequest:
    """Set by the first SIGTERM or Ctrl-C; truthy from then on."""

    def __init__(self):
        self._set = False

    def __bool__(self) -> bool:
        return self._set

    def set(self, *_) -> None:
        """Asks the run to stop, and lets a second signal end the process as it would have."""
        self._set = True
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Turns SIGTERM and Ctrl-C into a request that the loop sees after the step at hand.

    A scheduler that takes the machine away sends SIGTERM; the loop then saves and ends well.
    """
    request = StopRequest()
    before = {number: signal.signal(number, request.set) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
