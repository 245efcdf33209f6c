"""What the processes of a job tell each other, beside the devices."""

import jax
from jax._src import distributed  # jax has no public way to its key-value store


class Exchange:
    """A point that all processes of a job come to again and again, and say something to each other.

    It goes through jax's coordination service. A collective would be one more program on the devices, which
    on CPUs may run beside one that was dispatched before and mistake its messages for its own; and threads
    must not use those.
    """

    def __init__(self, name: str):
        """Names it.

        Args:
            name: of its own in the job, and the same in all processes.
        """
        self._name, self._number = name, 0

    def __call__(self, said: str, timeout_ms: int = 2**31 - 1) -> list[str]:
        """Says something, waits for the others and returns what all have said, in no order.

        Args:
            said: by this process.
            timeout_ms: how long it waits, in milliseconds; that of a dead process ends it sooner.

        Raises:
            jax.errors.JaxRuntimeError: another process does not come, or is gone.
        """
        client = distributed.global_state.client
        assert client is not None, "a process that is one of several has joined them"
        place = f"{self._name}/{self._number}/"
        client.key_value_set(f"{place}{jax.process_index()}", said)
        # Of one name for all times, or the service would remember every one of them.
        client.wait_at_barrier(self._name, timeout_ms)
        # Whoever is here has read what was said the time before.
        client.key_value_delete(f"{self._name}/{self._number - 1}/{jax.process_index()}")
        self._number += 1
        return [value for _, value in client.key_value_dir_get(place)]
