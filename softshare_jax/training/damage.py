"""What is wrong with a checkpoint that cannot be read: the checkpoint, or the machine."""

import errno
import os
import re

from softshare_jax.errors import RunError

# The operating system's errors that speak of the files themselves.
OF_FILES = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
# How tensorstore quotes them, and what it calls memory that is used up.
QUOTED = re.compile(r"os_error_code='(\d+)'")
EXHAUSTED = "RESOURCE_EXHAUSTED"
LONGEST = 100


class Damaged(Exception):
    """A checkpoint whose format or checksum is wrong; it says what."""


class Vanished(RunError):
    """A checkpoint that was deleted while it was read."""


def of_the_machine(error: BaseException) -> bool:
    """Says whether reading failed for a reason that is not the checkpoint: the disk, memory, a limit.

    Libraries wrap errors in others, so what an error was raised from counts as well.
    """
    return any(_is_of_the_machine(one) for one in _chain(error))


def first_line(error: BaseException) -> str:
    """Returns what an error says in at most a line: Orbax writes pages."""
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
    """Returns an error, what it was raised from, and the members of groups."""
    found: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and one not in found:
            found.append(one)
            left += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return found
