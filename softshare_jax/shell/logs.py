"""What commands tell people while they work: plain lines on stdout."""

import logging

import absl.logging  # noqa: F401 (defines --verbosity)
from absl import flags

LOGGER = logging.getLogger("softshare_jax")
# Of the processes of a job all but the first.
QUIET = -2
LEVELS = {QUIET: logging.ERROR, -1: logging.WARNING, 0: logging.INFO, 1: logging.DEBUG}


class _Stdout(logging.Handler):
    """Writes each record to the present ``sys.stdout`` at once, so that nothing is lost in a pipe."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record. What goes wrong is raised: a closed pipe ends the command."""
        print(record.getMessage(), flush=True)


def configure(verbosity: int = 0) -> None:
    """Lets a command log to stdout.

    Args:
        verbosity: ``QUIET``, -1 warnings, 0 also progress, 1 everything.
    """
    if not any(isinstance(handler, _Stdout) for handler in LOGGER.handlers):
        LOGGER.addHandler(_Stdout())
        LOGGER.propagate = False
    LOGGER.setLevel(LEVELS[max(QUIET, min(1, verbosity))])


def from_flag() -> int:
    """Returns the ``--verbosity`` of a command with absl's flags: absl's own, 0 where it is not given."""
    flag = flags.FLAGS["verbosity"]
    return int(flag.value) if flag.present else 0  # type: ignore[arg-type]
