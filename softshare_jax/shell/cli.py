"""What all commands have in common: quiet libraries, short errors, exit codes."""

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
    """An argument parser whose errors are one line, for a command by its name in the package."""

    def __init__(self, command: str, description: str):
        by_name = sys.argv[0].startswith("softshare ")
        called = sys.argv[0] if by_name else f"python -m softshare_jax.{command}"
        super().__init__(prog=called, description=description)
        self.add_argument("--verbosity", type=int, default=0, help="-1 warnings, 0 progress, 1 all (0)")

    def parse_args(self, *given, **keywords):
        """Parses as always, and sets how much the command tells."""
        arguments = super().parse_args(*given, **keywords)
        logs.configure(arguments.verbosity)
        return arguments

    def error(self, message: str) -> NoReturn:
        """Says what is wrong with the arguments and exits with code 2."""
        stray = re.match(r"unrecognized arguments: (-[^ =]*)", message)
        near = nearest(stray[1], self._option_string_actions) if stray else ""
        raise UserError(f"{message}{near} (see --help)")


@contextlib.contextmanager
def _process() -> Iterator[None]:
    """Makes the process that of a command: Ctrl-C and what goes wrong in threads are one line."""
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

    A mistake or a fault of the machine is one line on stderr. What is not known is a bug and keeps its
    traceback.
    """
    with _process():
        try:
            _run(command)
        except (UserError, RunError) as error:
            ending.end(f"error: {_printable(error)}", error.exit_code)
        except BrokenPipeError:
            # Nobody reads on, as in `... | head`.
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
        # Here and not when Python ends, which would say no more than that it failed.
        if sys.stdout is not None:
            sys.stdout.flush()


def _printable(error: Exception) -> str:
    """Returns a message as one line; it may quote a file that breaks lines or drives a terminal."""
    text = " ".join(str(error).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    """Ends the command with one line when a library's thread cannot write: others would wait for it."""
    fault = None if failed.exc_value is None else faults.explain(failed.exc_value)
    if fault is None:
        threading.__excepthook__(failed)
    else:
        ending.end(f"error: {fault}", fault.exit_code)


def _unraisable(unraisable) -> None:
    """Reports what cannot be raised, but for reads that nobody waits for.

    When Orbax gives up on a damaged checkpoint, reads that are still under way in tensorstore's
    threads are dropped or find its event loop closed, each with a traceback.
    """
    dropped = ("Event loop is closed", "Encountered error while reading array index")
    if not str(unraisable.exc_value).startswith(dropped):
        sys.__unraisablehook__(unraisable)
