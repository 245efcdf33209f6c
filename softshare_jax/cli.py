"""What all commands have in common: quiet libraries, short errors, exit codes."""

import argparse
import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import NoReturn

from softshare_jax.errors import RunError, UserError

# What a process that failed gives the others of its job to end with it.
FAREWELL_SECONDS = 3


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Says what is wrong with the arguments and exits with code 2."""
        raise UserError(f"{message} (see --help)")


def run(command: Callable[[], None]) -> NoReturn:
    """Runs a command and exits: 0 when done, 2 for a user's mistake, 1 for any other fault.

    A mistake or a known fault is one line on stderr. What is not known is a bug and keeps its
    traceback.
    """
    # Orbax and jax log what these commands say themselves, at length; asyncio what Orbax dropped.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    logging.getLogger("jax").setLevel(logging.ERROR)
    # Orbax drops them when it cannot open files.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    sys.unraisablehook = _unraisable
    try:
        command()
    except (UserError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        _exit(error.exit_code)
    except BrokenPipeError:
        # Nobody reads on, as in `... | head`; before OSError, of which it is one.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print(f"error: {error.strerror or error}{where}", file=sys.stderr)
        _exit(1)
    sys.exit(0)


def _exit(code: int) -> NoReturn:
    """Exits after an error, at once: what is left behind may never end, or ends with tracebacks.

    When a save fails, as on a full disk, Orbax's other threads wait for the failed one, for ten minutes and
    more, and Python waits for them; tensorboardX writes once more. In a job of several processes jax waits
    for the others, which may wait for this one.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    farewell = threading.Thread(target=_leave_job, daemon=True)
    farewell.start()
    farewell.join(FAREWELL_SECONDS)
    os._exit(code)


def _leave_job() -> None:
    """Parts with the other processes of a job, all of which leave together or are torn away with noise."""
    jax = sys.modules.get("jax")  # a mistake in the arguments is said before it is imported
    if jax is not None and jax.distributed.is_initialized():
        with contextlib.suppress(Exception):
            jax.distributed.shutdown()


def _unraisable(unraisable) -> None:
    """Passes on what cannot be raised, but for reports of reads that nobody waits for.

    When Orbax gives up on a damaged checkpoint, reads that are still under way in tensorstore's
    threads are dropped or find its event loop closed, each with a traceback.
    """
    dropped = ("Event loop is closed", "Encountered error while reading array index")
    if not str(unraisable.exc_value).startswith(dropped):
        sys.__unraisablehook__(unraisable)
