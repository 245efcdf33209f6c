"""Errors that commands print as one line instead of a traceback."""

import difflib
import errno
import re
from collections.abc import Iterable

# Up to this many valid names are all listed in an error.
FEW = 6
# Least similarity (difflib) of a name to be suggested.
LEAST_RATIO = 0.6
# A full disk, an exceeded quota or a broken disk. The path is valid, so this is not a user's mistake.
DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class UserError(Exception):
    """A user's mistake: one line on stderr, exit code 2."""

    exit_code = 2


class RunError(Exception):
    """A fault that the user did not cause, such as a loss that is not finite or
    a workdir with only damaged checkpoints: one line on stderr, exit code 1."""

    exit_code = 1


def cannot_write(what: str, error: OSError) -> UserError | RunError:
    """Returns an error for a file or folder that cannot be written.

    Args:
        what: the output, such as ``'--output runs/folded'``.
        error: the cause; a disk fault gives a ``RunError``, any other cause a ``UserError``.
    """
    kind = RunError if error.errno in DISK_FAULTS else UserError
    return kind(f"{what} cannot be written: {error.strerror or error}")


def unknown(what: str, given: str, names: Iterable[str], otherwise: str = "") -> str:
    """Returns the message for an unknown name, with suggestions.

    Args:
        what: the kind of name, such as ``'variant'``.
        given: the unknown name.
        names: the valid names. The message lists all of them if they are few, otherwise the nearest.
        otherwise: advice if there are many names and none is near.
    """
    names = list(dict.fromkeys(names))
    said = f"unknown {what} {given!r}"
    if 0 < len(names) <= FEW:
        return f"{said}; choose one of {', '.join(names)}"
    return said + (nearest(given, names) or (f"; {otherwise}" if otherwise else ""))


def nearest(given: str, names: Iterable[str]) -> str:
    """Returns ``'; did you mean ...?'`` with the nearest names, or an empty text if none is near."""
    ratios = {name: difflib.SequenceMatcher(None, given, name).ratio() for name in names}
    best = max(ratios.values(), default=0.0)
    near = [
        name for name in sorted(ratios, key=ratios.__getitem__, reverse=True) if ratios[name] > best - 0.1
    ]
    return f"; did you mean {' or '.join(near[:3])}?" if best >= LEAST_RATIO else ""


def one_line(text: object, most: int = 200, folder: object = "") -> str:
    """Returns a text without line breaks, truncated to ``most`` characters.

    Args:
        text: text or error; an error without a message gives the name of its type.
        most: maximum length of the line.
        folder: folder to remove from paths, because the message names it already.
    """
    said = str(text) or (type(text).__name__ if isinstance(text, Exception) else "")
    line = re.sub(r"\s+", " ", said.replace(f"{folder}/", "") if folder else said).strip()
    return line if len(line) <= most else line[: most - 3] + "..."
