"""One run in several processes: how they agree and end together."""

import contextlib
from collections.abc import Iterator

import jax

from softshare_jax.errors import RunError, UserError
from softshare_jax.job.exchange import Exchange

_answers = Exchange("any_process")


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
