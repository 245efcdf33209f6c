"""Messages between the processes of a job, without the devices."""

import jax
from jax._src import distributed  # jax has no public way to its key-value store


class Exchange:
    """A point where all processes of a job meet repeatedly, each with a message to the others.

    It uses jax's coordination service, not a collective. On CPUs a collective may run beside a program that
    was dispatched earlier and mistake that program's messages for its own. Threads must not use collectives.
    """

    def __init__(self, name: str):
        """Creates the exchange.

        Args:
            name: unique in the job, and the same in all processes.
        """
        self._name, self._number = name, 0

    def __call__(self, said: str, timeout_ms: int = 2**31 - 1) -> list[str]:
        """Sends a message, waits for the other processes and returns all messages, in any order.

        Args:
            said: this process's message.
            timeout_ms: longest wait, in milliseconds; the death of a process ends it sooner.

        Raises:
            jax.errors.JaxRuntimeError: another process does not arrive in time, or has died.
        """
        client = distributed.global_state.client
        assert client is not None, "join() comes before the first message"
        place = f"{self._name}/{self._number}/"
        client.key_value_set(f"{place}{jax.process_index()}", said)
        # Reuse one barrier name: the service never frees names.
        client.wait_at_barrier(self._name, timeout_ms)
        # Every process has read the previous round, so its key can be deleted.
        client.key_value_delete(f"{self._name}/{self._number - 1}/{jax.process_index()}")
        self._number += 1
        return [value for _, value in client.key_value_dir_get(place)]
