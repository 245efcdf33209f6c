"""One run in several processes: how they find each other, agree, and end together."""

import contextlib
from collections.abc import Iterator

import jax
from absl import flags

from softshare_jax.errors import RunError, UserError
from softshare_jax.training.exchange import Exchange

_answers = Exchange("any_process")


def join(
    coordinator_address: str | None, num_processes: int | None, process_id: int | None, heartbeat: int
) -> None:
    """Joins the job's other processes, where there are any; before anything is computed.

    On TPU slices, Slurm, Open MPI and Kubernetes jobs jax finds out by itself; where nothing points to a
    cluster this process is the only one.

    Args:
        coordinator_address: host and port of process 0; ``None`` to detect it, as the next two.
        num_processes: of the job.
        process_id: of this process.
        heartbeat: seconds after which a silent process counts as dead, which ends all others.

    Raises:
        UserError: some of the three are given, and the others cannot be detected.
    """
    try:
        jax.distributed.initialize(
            coordinator_address,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=heartbeat,
            shutdown_timeout_seconds=heartbeat,
        )
    except ValueError as error:
        # Asking is calling: jax raises this before it does anything, if it sees no cluster.
        if (coordinator_address, num_processes, process_id) != (None, None, None):
            raise UserError(
                "a job of several processes takes --coordinator_address, --num_processes and --process_id "
                f"where they cannot be detected: {error}"
            ) from error
    if jax.process_count() > 1:
        # Orbax's processes meet by collectives otherwise, and where one fails the others wait for ever.
        flags.FLAGS["experimental_orbax_use_distributed_barrier"].value = True


def is_first() -> bool:
    """Whether this process is the one that writes, prints and locks."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process. All of them must ask, and all get the same answer."""
    if jax.process_count() == 1:
        return flag
    return str(True) in _answers(str(flag))


def same_for_all(said: str) -> str:
    """Returns what one of the processes says, the same in all. All of them must call it."""
    return said if jax.process_count() == 1 else min(_answers(said))


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Lets all processes through a block or none, so that nobody waits for one that gave up.

    Raises:
        RunError: the block failed in another process, which says why.
    """
    try:
        yield
    except (UserError, RunError, OSError):
        any_process(True)
        raise
    if any_process(False):
        raise RunError("another process of the job could not go on and says why")


@contextlib.contextmanager
def lost_peers() -> Iterator[None]:
    """Turns the failure of a computation that several processes share into one line.

    Raises:
        RunError: it failed, most often because a process is gone.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        text = " ".join(str(error).split())[:200]
        raise RunError(
            f"process {jax.process_index()} of {jax.process_count()} lost touch with the others ({text}); "
            "start the job again to go on from its last checkpoint"
        ) from error
