"""Code that all commands share: an argument parser, one-line errors and exit codes."""

import argparse
import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from softshare_jax.errors import RunError, UserError, nearest
from softshare_jax.shell import ending, environment, faults, logs


class Parser(argparse.ArgumentParser):
    """An argument parser with one-line errors. ``command`` is the name of a module of the package."""

    def __init__(self, command: str, description: str):
        unified = sys.argv[0].startswith("softshare ")
        called = sys.argv[0] if unified else f"python -m softshare_jax.{command}"
        super().__init__(prog=called, description=description)
        self.add_argument("--verbosity", type=int, default=0, help="-1: warnings, 0: progress, 1: all (0)")

    def parse_args(self, *given, **keywords):
        """Parses the arguments and sets the log level."""
        arguments = super().parse_args(*given, **keywords)
        logs.configure(arguments.verbosity)
        return arguments

    def error(self, message: str) -> NoReturn:
        """Raises a ``UserError`` with the message and, for an unknown option, the nearest name."""
        stray = re.match(r"unrecognized arguments: (-[^ =]*)", message)
        near = nearest(stray[1], self._option_string_actions) if stray else ""
        raise UserError(f"{message}{near} (see --help)")


@contextlib.contextmanager
def _process() -> Iterator[None]:
    """Prepares the process of a command: Ctrl-C and errors in threads end it with one line."""
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook, threading.excepthook = _unraisable, _thread_failed
    environment.prepare()
    logs.configure()
    try:
        with ending.on_interrupt():
            yield
    finally:
        sys.unraisablehook, threading.excepthook = hooks


def run(command: Callable[[], None]) -> NoReturn:
    """Runs a command and exits: 0 when done, 2 for a user's mistake, 1 for a fault, 130 after Ctrl-C.

    A mistake or a fault of the machine prints one line on stderr. Any other exception is a bug and keeps
    its traceback.
    """
    with _process():
        try:
            _run(command)
        except (UserError, RunError) as error:
            ending.end(f"error: {_printable(error)}", error.exit_code)
        except BrokenPipeError:
            # The reader closed the pipe, as in `... | head`.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except Exception as error:
            fault = faults.explain(error)
            if fault is None:
                raise
            ending.end(f"error: {fault}", fault.exit_code)
    sys.exit(0)


def _run(command: Callable[[], None]) -> None:
    try:
        command()
    finally:
        # Flush here: at interpreter exit Python would not report why it failed.
        if sys.stdout is not None:
            sys.stdout.flush()


def _printable(error: Exception) -> str:
    """Returns a message as one line; escapes control characters, which a quoted file may contain."""
    text = " ".join(str(error).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    """Ends the command with one line when a library's thread fails; other threads would wait for it."""
    fault = None if failed.exc_value is None else faults.explain(failed.exc_value)
    if fault is None:
        threading.__excepthook__(failed)
    else:
        ending.end(f"error: {fault}", fault.exit_code)


def _unraisable(unraisable) -> None:
    """Reports unraisable errors, except known ones from abandoned tensorstore reads.

    When Orbax gives up on a damaged checkpoint, pending reads in tensorstore's threads are dropped or
    find the event loop closed. Each would print a traceback.
    """
    dropped = ("Event loop is closed", "Encountered error while reading array index")
    if not str(unraisable.exc_value).startswith(dropped):
        sys.__unraisablehook__(unraisable)
