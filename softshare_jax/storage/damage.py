"""Distinguishes damaged checkpoints from faults of the machine."""

import errno
import os
import re

from softshare_jax.errors import RunError

# System errors for a file that is missing or is a folder.
OF_FILES = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
# The form in which tensorstore quotes system errors; it and XLA report exhausted memory in the other.
QUOTED = re.compile(r"os_error_code='(\d+)'")
EXHAUSTED = "RESOURCE_EXHAUSTED"
LONGEST = 100


class Damaged(Exception):
    """The format or a checksum of a checkpoint is wrong; the message says what."""


class Vanished(RunError):
    """A checkpoint was deleted while it was read."""


def of_the_machine(error: BaseException) -> bool:
    """Returns whether the disk, the memory or a limit caused an error, and not the checkpoint.

    Libraries wrap errors in others, so the causes of an error are examined too.
    """
    return any(_is_of_the_machine(one) for one in _chain(error))


def first_line(error: BaseException) -> str:
    """Returns the message of an error in one short line, because Orbax writes pages."""
    for one in _chain(error):
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
        if quoted := QUOTED.search(str(one)):
            return os.strerror(int(quoted[1]))
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _is_of_the_machine(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno not in OF_FILES
    quoted = [int(number) for number in QUOTED.findall(str(error))]
    return isinstance(error, MemoryError) or EXHAUSTED in str(error) or any(n not in OF_FILES for n in quoted)


def _chain(error: BaseException) -> list[BaseException]:
    """Returns an error, its causes, and the members of exception groups."""
    found: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and one not in found:
            found.append(one)
            left += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return found
