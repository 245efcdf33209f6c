"""Logging of the commands: text lines on stdout."""

import logging

import absl.logging  # noqa: F401 (defines --verbosity)
from absl import flags

LOGGER = logging.getLogger("softshare_jax")
# Log level of every process of a job except the first.
QUIET = -2
LEVELS = {QUIET: logging.ERROR, -1: logging.WARNING, 0: logging.INFO, 1: logging.DEBUG}


class _Stdout(logging.Handler):
    """Writes each record to the current ``sys.stdout`` and flushes it, so that a pipe loses nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record. Errors propagate, so a closed pipe ends the command."""
        print(record.getMessage(), flush=True)


def configure(verbosity: int = 0) -> None:
    """Configures the package's logger to write to stdout.

    Args:
        verbosity: ``QUIET`` (errors), -1 (warnings), 0 (progress) or 1 (all).
    """
    if not any(isinstance(handler, _Stdout) for handler in LOGGER.handlers):
        LOGGER.addHandler(_Stdout())
        LOGGER.propagate = False
    LOGGER.setLevel(LEVELS[max(QUIET, min(1, verbosity))])


def from_flag() -> int:
    """Returns the value of absl's flag ``--verbosity``, or 0 if it is not given."""
    flag = flags.FLAGS["verbosity"]
    return int(flag.value) if flag.present else 0  # type: ignore[arg-type]
