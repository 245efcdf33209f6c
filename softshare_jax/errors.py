"""What the commands may say to a person instead of a traceback."""

import difflib
import errno
from collections.abc import Iterable

# A name is chosen from so few that an error lists them all.
FEW = 6
# Of two names that may be meant for each other, as difflib measures it.
LEAST_RATIO = 0.6
# A full disk, a used-up quota or a broken disk. The folder is right, so it is not a mistake to name it.
DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class UserError(Exception):
    """A mistake in what was asked for: one line on stderr, exit code 2."""

    exit_code = 2


class RunError(Exception):
    """A fault that is not the user's doing, such as a loss that is not finite or
    a workdir whose checkpoints are all damaged: one line on stderr, exit code 1."""

    exit_code = 1


def cannot_write(what: str, error: OSError) -> UserError | RunError:
    """Returns the error to raise for a file or folder that cannot be written.

    Args:
        what: what was to be written, such as ``'--output runs/folded'``.
        error: why not; a fault of the disk makes a ``RunError``, anything else a ``UserError``.
    """
    kind = RunError if error.errno in DISK_FAULTS else UserError
    return kind(f"{what} cannot be written: {error.strerror or error}")


def unknown(what: str, given: str, names: Iterable[str], otherwise: str = "") -> str:
    """Returns the message for a name that does not exist, with the names that were perhaps meant.

    Args:
        what: the kind of name, such as ``'variant'``.
        given: the name.
        names: the names that exist. Where they are few the message lists all of them, otherwise the nearest.
        otherwise: what to do where there are many and none is near.
    """
    names = list(dict.fromkeys(names))
    said = f"unknown {what} {given!r}"
    if 0 < len(names) <= FEW:
        return f"{said}; choose one of {', '.join(names)}"
    return said + (nearest(given, names) or (f"; {otherwise}" if otherwise else ""))


def nearest(given: str, names: Iterable[str]) -> str:
    """Returns the end of such a message, ``'; did you mean ...?'``, or nothing where no name is near."""
    ratios = {name: difflib.SequenceMatcher(None, given, name).ratio() for name in names}
    best = max(ratios.values(), default=0.0)
    near = [
        name for name in sorted(ratios, key=ratios.__getitem__, reverse=True) if ratios[name] > best - 0.1
    ]
    return f"; did you mean {' or '.join(near[:3])}?" if best >= LEAST_RATIO else ""


def one_line(error: object, folder: object = "", limit: int = 120) -> str:
    """Returns what an error of a library says: one line of so many characters at most."""
    if isinstance(folder, int):
        folder, limit = "", folder
    said = str(error).replace(f"{folder}/", "") if folder else str(error)
    return " ".join(said.split())[:limit] or type(error).__name__
