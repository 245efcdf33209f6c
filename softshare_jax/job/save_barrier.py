"""A save barrier that fails fast when another process's save has failed."""

import contextlib

import jax

from softshare_jax.errors import RunError
from softshare_jax.job.exchange import Exchange
from softshare_jax.job.processes import lost_peers

GAVE_UP = "gave up"


class SaveBarrier:
    """A barrier for the saving threads of Orbax.

    A process whose save fails skips the remaining barriers, and Orbax would let the others wait for it until
    the save times out. Here the failed process sends ``GAVE_UP`` at its next barrier. All processes meet at
    the n-th barrier and compare their messages: a difference means that one has failed.
    """

    def __init__(self, name: str):
        """Creates the barrier.

        Args:
            name: unique in the job, and the same in all processes.
        """
        self._exchange, self._parted = Exchange(name), False

    def __call__(self, *, key: str, timeout_ms: int = 2**31 - 1) -> None:
        """Waits until all processes arrive.

        Args:
            key: name of the barrier, the same in all processes.
            timeout_ms: longest wait, in milliseconds.

        Raises:
            RunError: another process has failed, does not arrive in time, or has died.
        """
        if jax.process_count() == 1:
            return
        if not self._parted:
            # Orbax would report a timeout.
            with lost_peers():
                self._parted = len(set(self._exchange(key, timeout_ms))) > 1
        if self._parted:
            raise RunError("another process of the job could not save; see its output for the reason")

    def give_up(self) -> None:
        """Tells the other processes that this one could not save; returns when they know."""
        if jax.process_count() > 1 and not self._parted:
            self._parted = True
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                self._exchange(GAVE_UP)
