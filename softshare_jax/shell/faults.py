"""Separates faults of the machine, reported in one line, from bugs, which keep their traceback."""

import errno
import os
import re
import traceback
from collections.abc import Iterator

from softshare_jax.errors import DISK_FAULTS, RunError, UserError, one_line

# Tensorstore reports a failed system call as a ValueError with this text at its end.
_OS_ERROR_CODE = re.compile(r"\[os_error_code='(\d+)'")
_QUOTED_FILE = re.compile(r'"(/[^"]+)"')
# numpy reports a short write without an error number.
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")


def explain(error: BaseException) -> UserError | RunError | None:
    """Returns a one-line error for an exception, or ``None`` if it is a bug.

    A full disk often makes cleanup fail, too. So the chain of exceptions is searched for a disk fault.
    """
    if isinstance(error, ValueError) and _module(error) == "jax._src.config":
        return UserError(f"invalid environment variable: {one_line(error)}")
    for number, one in enumerate(_chain(error)):
        found = _os_error(one) or (_memory(one) if number == 0 else None)
        if found is not None and (number == 0 or found[0] in DISK_FAULTS):
            return RunError(found[1])
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an exception, then its causes and contexts."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _module(error: BaseException) -> str:
    """Returns the name of the module that raised an exception."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return frames[-1][0].f_globals.get("__name__", "") if frames else ""


def _os_error(error: BaseException) -> tuple[int, str] | None:
    """Returns error number and message of a failed system call, or ``None``."""
    if isinstance(error, OSError):
        if error.errno is None and _SHORT_WRITE.search(str(error)):
            return errno.ENOSPC, os.strerror(errno.ENOSPC)
        # Some libraries put long texts into strerror.
        where = f": {error.filename}" if error.filename else ""
        return error.errno or 0, f"{one_line(error.strerror or error)}{where}"
    code = _OS_ERROR_CODE.search(str(error))
    if code is None:
        return None
    file = _QUOTED_FILE.search(str(error))
    return int(code[1]), os.strerror(int(code[1])) + (f": {file[1]}" if file else "")


def _memory(error: BaseException) -> tuple[int, str] | None:
    """Returns error number and message if the host or a device is out of memory, or ``None``."""
    # Compare by name, so that commands that need no jax do not import it.
    device = type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError")
    if isinstance(error, MemoryError):
        text = one_line(error, 120)
        return errno.ENOMEM, "out of memory" + (f": {text}" if text else "")
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        # Python's only sign of a failed clone, for want of memory or because of a limit on processes.
        return errno.EAGAIN, "the system refused another thread: too little memory, or too many processes"
    if device and "RESOURCE_EXHAUSTED" in str(error):
        text = one_line(str(error).partition("RESOURCE_EXHAUSTED: ")[2], 120)
        return errno.ENOMEM, f"a device is out of memory ({text}); reduce --config.batch_size"
    return None
