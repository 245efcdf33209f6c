"""How a command ends before its time: one line, an exit code, and nothing after that."""

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

# What a process that failed gives the others of its job to end with it.
FAREWELL_SECONDS = 3
# On Ctrl-C the main thread has so long to clean up. While XLA compiles it runs no Python at all.
GRACE_SECONDS = 2.0
INTERRUPTED = 128 + signal.SIGINT

_ending = threading.Lock()
_interrupted = threading.Event()


def end(line: str, code: int) -> NoReturn:
    """Prints a line on stderr and ends the process at once.

    What is left behind may never end, or ends with tracebacks: when a save fails, as on a full disk, Orbax's
    other threads wait for the failed one, for ten minutes and more, and Python waits for them; tensorboardX
    writes once more. In a job of several processes jax waits for the others, which may wait for this one.

    Any thread may call it; the first one to do so has the word.

    Args:
        line: what to say.
        code: exit code of the process.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    with _ending:
        with contextlib.suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)
        if threading.current_thread() is threading.main_thread():
            # Another thread could wait for ever here, for a main thread that is in the middle of a write.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stdout.flush()
        farewell = threading.Thread(target=_leave_job, daemon=True)
        farewell.start()
        farewell.join(FAREWELL_SECONDS)
        os._exit(code)


def end_on_interrupt() -> None:
    """Makes Ctrl-C end the process with one line and code 130, whatever it is doing.

    The main thread gets a ``KeyboardInterrupt`` and may clean up. A handler that is installed later replaces
    this one.
    """
    if signal.getsignal(signal.SIGINT) is _interrupt:
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.signal(signal.SIGINT, _interrupt)
    # Python writes to it at once, also while the main thread is in a library.
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read,), daemon=True).start()


def interrupted() -> bool:
    """Returns whether Ctrl-C has asked the process to end."""
    return _interrupted.is_set()


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    _interrupted.set()
    raise KeyboardInterrupt


def _watch(read: int) -> None:
    """Ends the process if the main thread does not, which may be long in a library or lose the exception."""
    while True:
        if signal.SIGINT in os.read(read, 64) and signal.getsignal(signal.SIGINT) is _interrupt:
            time.sleep(GRACE_SECONDS)
            end("interrupted", INTERRUPTED)


def _leave_job() -> None:
    """Parts with the other processes of a job, all of which leave together or are torn away with noise."""
    jax = sys.modules.get("jax")  # a mistake in the arguments is said before it is imported
    with contextlib.suppress(Exception):
        if jax is not None and jax.distributed.is_initialized():
            jax.distributed.shutdown()
