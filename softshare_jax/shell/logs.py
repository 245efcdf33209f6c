"""Logging of the commands: text lines."""

import logging
import sys
from typing import Literal

import absl.logging  # noqa: F401 (defines --verbosity)
from absl import flags

LOGGER = logging.getLogger("softshare_jax")
# Log level of every process of a job except the first.
QUIET = -2
LEVELS = {QUIET: logging.ERROR, -1: logging.WARNING, 0: logging.INFO, 1: logging.DEBUG}


class _Lines(logging.Handler):
    """Writes each record to the current stdout or stderr at once, so that a pipe loses nothing."""

    stream: Literal["stdout", "stderr"] = "stdout"

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record. Errors propagate, so a closed pipe ends the command."""
        print(record.getMessage(), file=getattr(sys, self.stream), flush=True)


_LINES = _Lines()


def configure(verbosity: int = 0, stream: Literal["stdout", "stderr"] = "stdout") -> None:
    """Configures the package's logger.

    Args:
        verbosity: ``QUIET`` (errors), -1 (warnings), 0 (progress) or 1 (all).
        stream: where lines go; ``'stderr'`` for a command whose stdout other programs read.
    """
    LOGGER.addHandler(_LINES)
    LOGGER.propagate = False
    _LINES.stream = stream
    LOGGER.setLevel(LEVELS[max(QUIET, min(1, verbosity))])


def from_flag() -> int:
    """Returns the value of absl's flag ``--verbosity``, or 0 if it is not given."""
    flag = flags.FLAGS["verbosity"]
    return int(flag.value) if flag.present else 0  # type: ignore[arg-type]
