"""Ends a command early: one line on stderr, an exit code, and no further output."""

import softshare_jax.shell.search_path  # noqa: F401 (first: later imports must not search the current folder)

# isort: split
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

# How long a failed process waits for the other processes of its job to end with it.
FAREWELL_SECONDS = 3
INTERRUPTED = 128 + signal.SIGINT

_ending = threading.Lock()
_unfinished: set[str] = set()
_spared = 0
_process = contextlib.ExitStack()


def end(line: str, code: int) -> NoReturn:
    """Prints a line on stderr, removes unfinished folders and ends the process at once.

    A normal exit may hang or print tracebacks. When a save fails, as on a full disk, Orbax's other threads
    wait ten minutes or more for the failed one, Python waits for them, and tensorboardX writes once more.
    In a job of several processes jax waits for the others, which may wait for this one.

    Any thread may call it; only the first call takes effect.

    Args:
        line: the line to print.
        code: exit code of the process.
    """
    with _ending:
        with contextlib.suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)
        if threading.current_thread() is threading.main_thread():
            # In another thread this could deadlock with a main thread that is writing.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stdout.flush()
        for folder in list(_unfinished):
            import shutil  # imported late: commands import this module first, and it must load fast

            shutil.rmtree(folder, ignore_errors=True)
        farewell = threading.Thread(target=_leave_job, daemon=True)
        farewell.start()
        farewell.join(FAREWELL_SECONDS)
        os._exit(code)


def start() -> None:
    """Enters ``on_interrupt`` for the rest of the process."""
    _process.enter_context(on_interrupt())


@contextlib.contextmanager
def unfinished(folder: str | os.PathLike) -> Iterator[None]:
    """Marks a folder as unfinished: ``end`` removes it if it is called in the block or after the block fails.

    After a failure, threads that outlive the block may still write into the folder.
    """
    _unfinished.add(os.fspath(folder))
    yield
    _unfinished.discard(os.fspath(folder))


@contextlib.contextmanager
def on_interrupt() -> Iterator[None]:
    """Lets Ctrl-C end the process at once, with one line and code 130, while the block runs.

    It raises no ``KeyboardInterrupt``: libraries crash on it during import or lose it in callbacks, and XLA
    runs no Python code for minutes while it compiles.
    """
    before = signal.signal(signal.SIGINT, _nothing)
    read, write = os.pipe()
    os.set_blocking(write, False)
    # Python writes each signal number to the pipe at once, even while the main thread is in a library.
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read,), daemon=True).start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.set_wakeup_fd(wakeup)
        os.close(write)


def spare_interrupts(number: int) -> None:
    """Ignores the next ``number`` interrupts here; a signal handler of the caller deals with them."""
    global _spared
    _spared = number


def _nothing(number: int, frame: FrameType | None) -> None:
    del number, frame


def _watch(read: int) -> None:
    while numbers := os.read(read, 64):
        for _ in range(numbers.count(signal.SIGINT)):
            if not _spared:
                end("interrupted", INTERRUPTED)
            spare_interrupts(_spared - 1)
    os.close(read)


def _leave_job() -> None:
    """Leaves the job; without a joint shutdown, jax ends its other processes with long error messages."""
    jax = sys.modules.get("jax")  # argument errors occur before jax is imported
    with contextlib.suppress(Exception):
        if jax is not None and jax.distributed.is_initialized():
            jax.distributed.shutdown()
