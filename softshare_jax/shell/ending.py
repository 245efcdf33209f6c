"""How a command ends before its time: one line, an exit code, and nothing after that."""

import softshare_jax.shell.search_path  # noqa: F401 (before all others, which are then not found in the current folder)

# isort: split
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

# What a process that failed gives the others of its job to end with it.
FAREWELL_SECONDS = 3
INTERRUPTED = 128 + signal.SIGINT

_ending = threading.Lock()
_unfinished: set[str] = set()
_spared = 0
_process = contextlib.ExitStack()


def end(line: str, code: int) -> NoReturn:
    """Prints a line on stderr, removes unfinished folders and ends the process at once.

    What is left behind may never end, or ends with tracebacks: when a save fails, as on a full disk, Orbax's
    other threads wait for the failed one, for ten minutes and more, and Python waits for them; tensorboardX
    writes once more. In a job of several processes jax waits for the others, which may wait for this one.

    Any thread may call it; the first one to do so has the word.

    Args:
        line: what to say.
        code: exit code of the process.
    """
    with _ending:
        with contextlib.suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)
        if threading.current_thread() is threading.main_thread():
            # Another thread could wait for ever here, for a main thread that is in the middle of a write.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stdout.flush()
        for folder in list(_unfinished):
            import shutil  # commands begin with this module, which is to be there at once

            shutil.rmtree(folder, ignore_errors=True)
        farewell = threading.Thread(target=_leave_job, daemon=True)
        farewell.start()
        farewell.join(FAREWELL_SECONDS)
        os._exit(code)


def start() -> None:
    """Does what ``on_interrupt`` does, for as long as the process lives."""
    _process.enter_context(on_interrupt())


@contextlib.contextmanager
def unfinished(folder: str | os.PathLike) -> Iterator[None]:
    """Removes a folder when the process ends inside of the block, or because it failed.

    Then threads that outlive the block may still be writing into it.
    """
    _unfinished.add(os.fspath(folder))
    yield
    _unfinished.discard(os.fspath(folder))


@contextlib.contextmanager
def on_interrupt() -> Iterator[None]:
    """Lets Ctrl-C end the process with one line and code 130, whatever it is doing in the block.

    No ``KeyboardInterrupt`` is raised: libraries crash of it while they are imported, lose it in callbacks,
    or do not run Python for minutes, as XLA while it compiles.
    """
    before = signal.signal(signal.SIGINT, _nothing)
    read, write = os.pipe()
    os.set_blocking(write, False)
    # Python writes the number of a signal to it at once, also while the main thread is in a library.
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read,), daemon=True).start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.set_wakeup_fd(wakeup)
        os.close(write)


def spare_interrupts(number: int) -> None:
    """Lets the process live through so many times of Ctrl-C, which then have a handler of their own."""
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
    """Parts with the other processes of a job, all of which leave together or are torn away with noise."""
    jax = sys.modules.get("jax")  # a mistake in the arguments is said before it is imported
    with contextlib.suppress(Exception):
        if jax is not None and jax.distributed.is_initialized():
            jax.distributed.shutdown()
