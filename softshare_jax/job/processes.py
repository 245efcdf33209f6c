"""Agreement between the processes of a run, so that they continue and fail together."""

import contextlib
from collections.abc import Iterator

import jax

from softshare_jax.errors import RunError, UserError
from softshare_jax.job.exchange import Exchange

_answers = Exchange("any_process")


def is_first() -> bool:
    """Returns whether this process is the one that writes, prints and locks."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """Returns whether the flag is set in any process. All must call it, and all get the same answer."""
    if jax.process_count() == 1:
        return flag
    return str(True) in _answers(str(flag))


def same_for_all(said: str) -> str:
    """Returns the value of one process, the same in all. All must call it."""
    return said if jax.process_count() == 1 else min(_answers(said))


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Runs a block in all processes; if it fails in one, it fails in all.

    Raises:
        RunError: the block failed in another process, which reports the reason.
    """
    try:
        yield
    except (UserError, RunError, OSError):
        any_process(True)
        raise
    if any_process(False):
        raise RunError("another process of the job failed; see its output for the reason")


@contextlib.contextmanager
def lost_peers() -> Iterator[None]:
    """Reports the failure of a computation across processes in one line.

    Raises:
        RunError: it failed, usually because a process has died.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        text = " ".join(str(error).split())[:200]
        raise RunError(
            f"process {jax.process_index()} of {jax.process_count()} lost contact with the others ({text}); "
            "start the job again to resume from its last checkpoint"
        ) from error
