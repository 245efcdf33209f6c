"""Where the processes of a job wait for each other while they save, and learn that one of them failed."""

import contextlib

import jax

from softshare_jax.errors import RunError
from softshare_jax.job.exchange import Exchange
from softshare_jax.job.processes import lost_peers

GAVE_UP = "gave up"


class SaveBarrier:
    """A barrier for the threads that save, which holds nobody for a process that has given up.

    A process whose save fails does not come to the barriers that are left, and Orbax would let the others
    wait for it until a save has taken too long. Here it says that it gives up, in place of its next barrier:
    all processes meet at the n-th barrier, whatever they say there, and where they say different things
    somebody has failed.
    """

    def __init__(self, name: str):
        """Names it.

        Args:
            name: of its own in the job, and the same in all processes.
        """
        self._exchange, self._parted = Exchange(name), False

    def __call__(self, *, key: str, timeout_ms: int = 2**31 - 1) -> None:
        """Waits until all processes are here.

        Args:
            key: what the caller waits for.
            timeout_ms: how long, in milliseconds.

        Raises:
            RunError: another process has failed, does not come, or is gone.
        """
        if jax.process_count() == 1:
            return
        if not self._parted:
            # Orbax would say that it timed out.
            with lost_peers():
                self._parted = len(set(self._exchange(key, timeout_ms))) > 1
        if self._parted:
            raise RunError("another process of the job could not save and says why")

    def give_up(self) -> None:
        """Tells the other processes that this one could not save; returns when they know."""
        if jax.process_count() > 1 and not self._parted:
            self._parted = True
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                self._exchange(GAVE_UP)
