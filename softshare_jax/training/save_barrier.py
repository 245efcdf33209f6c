"""Where the processes of a job wait for each other while they save, and learn that one of them failed."""

import jax

from softshare_jax.errors import RunError
from softshare_jax.training.exchange import Exchange
from softshare_jax.training.processes import lost_peers

# What all processes come to in the end, those whose save failed too.
LAST = "set_value"


class SaveBarrier:
    """A barrier for Orbax's threads that holds nobody for a process that has given up.

    A process whose save fails goes straight to the last barrier of that save, and the others wait for it at
    an earlier one, for the twenty minutes that Orbax allows a save. Here all processes meet at the n-th
    barrier, whatever they call it. Where the names differ somebody has failed: those that have not come to
    the end get an error.
    """

    def __init__(self, name: str):
        """Names it.

        Args:
            name: of its own in the job, and the same in all processes.
        """
        self._exchange, self._parted = Exchange(name), False

    def __call__(self, *, key: str, timeout_ms: int) -> None:
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
        if self._parted and LAST not in key:
            raise RunError("another process of the job could not save and says why")
