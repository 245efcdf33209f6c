"""Checks paths from users: they must be on this machine."""

import os
import pathlib
import re

from softshare_jax.errors import UserError

# Two letters or more, because "C:/" is not a URL; one slash, because pathlib drops the second.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def local(path: str | os.PathLike) -> pathlib.Path:
    """Returns the absolute path of a file or folder on this machine; expands ``~``.

    Runs need locks, atomic renames and fsync, which object stores do not provide. A path such as
    ``gs://bucket`` would silently become a local folder ``gs:``.

    Raises:
        UserError: the path is empty, a URL, or in an unknown home folder.
    """
    text = os.fspath(path)
    if not text:
        raise UserError("a path is empty: name a file or folder")
    if _URL.match(text):
        raise UserError(
            f"{text} is a URL; runs, data and outputs need a path on this machine: "
            "use a local or shared disk, or copy from the bucket (see docs/clusters.md)"
        )
    try:
        return pathlib.Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise UserError(f"{text}: there is no such home folder") from error


def cache() -> pathlib.Path:
    """Returns the folder for files that can be made again, such as ``~/.cache/softshare_jax``.

    Raises:
        RuntimeError: the user has no home folder.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(home) if home else pathlib.Path.home() / ".cache") / "softshare_jax"


def printable(name: str) -> str:
    r"""Returns a file name as text that can be printed, drawn and encoded.

    Names on Linux are bytes. Bytes that are not UTF-8 become escapes.

    >>> printable(os.fsdecode(b"caf\xe9"))
    'caf\\xe9'
    """
    return os.fsencode(name).decode(errors="backslashreplace")
