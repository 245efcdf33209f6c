"""Writes that survive a power loss.

A file is on disk when its data and its entry in the folder are flushed. Closing a file flushes neither of
them, and a rename only changes entries. Every function here returns when what it did is on disk.

What is not finished lies beside its target, as ``.NAME.0123456789ab.partial``. Nobody else has that name, so
it takes nothing away, and what a killed process left of it can be deleted.
"""

import contextlib
import errno
import os
import pathlib
import uuid
from collections.abc import Iterator

# What a file system answers that cannot flush a folder.
UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP)
# What a file system answers that has no hard links.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
# Names of files have at most 255 bytes. So many characters of one are kept in the name of its partial.
KEPT_CHARACTERS = 40


def partial(path: pathlib.Path) -> pathlib.Path:
    """Returns the path for what becomes a file or folder when it is finished; each call another one."""
    return path.with_name(f".{path.name[:KEPT_CHARACTERS]}.{uuid.uuid4().hex[:12]}.partial")


def write(file: pathlib.Path, content: bytes) -> None:
    """Replaces a file: the disk holds its old content or its new one, never a part.

    Writers of one file do not disturb each other; the last one to finish wins.

    Args:
        file: to write; its folder exists.
        content: of the file.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    with _finished(file, content) as finished:
        rename(finished, file)


def write_new(file: pathlib.Path, content: bytes) -> None:
    """Makes a file that does not exist: it appears with all of its content. Of several writers one succeeds.

    Args:
        file: to make; its folder exists.
        content: of the file.

    Raises:
        FileExistsError: there is something of that name; it is not changed.
        OSError: it cannot be written; nothing is left behind.
    """
    with _finished(file, content) as finished:
        try:
            os.link(finished, file)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            # The empty file holds the name until the whole one replaces it.
            os.close(os.open(file, os.O_CREAT | os.O_EXCL))
            os.replace(finished, file)
        fsync_folder(file.parent)


@contextlib.contextmanager
def _finished(file: pathlib.Path, content: bytes) -> Iterator[pathlib.Path]:
    """Yields a file beside another that is on disk, and removes what is left of it."""
    unfinished = partial(file)
    try:
        with open(unfinished, "xb") as stream:
            stream.write(content)
            stream.flush()
            _flush(stream.fileno(), file)
        yield unfinished
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


def rename(source: pathlib.Path, target: pathlib.Path) -> None:
    """Renames a file, or a folder whose target is missing or empty.

    Args:
        source: its content is on disk.
        target: on the same file system.

    Raises:
        OSError: it cannot be renamed.
    """
    os.replace(source, target)
    fsync_folder(target.parent)
    if source.parent != target.parent:
        fsync_folder(source.parent)


def make_folder(folder: pathlib.Path) -> None:
    """Makes a folder and the missing ones above it.

    Raises:
        OSError: it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        fsync_folder(path.parent)


def fsync_file(file: pathlib.Path) -> None:
    """Flushes a file that was written in any way.

    Raises:
        OSError: it is missing, or the disk reports an error.
    """
    descriptor = os.open(file, os.O_RDONLY)
    try:
        _flush(descriptor, file)
    finally:
        os.close(descriptor)


def fsync_folder(folder: pathlib.Path) -> None:
    """Flushes the entries of a folder, but not what they lead to.

    Raises:
        OSError: it is missing, or the disk reports an error.
    """
    try:
        fsync_file(folder)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def fsync_tree(folder: pathlib.Path) -> None:
    """Flushes all files and folders below a folder, and the folder itself.

    Raises:
        OSError: something is missing, or the disk reports an error.
    """
    for path, _, files in os.walk(folder, topdown=False, onerror=_raise):
        for file in files:
            fsync_file(pathlib.Path(path, file))
        fsync_folder(pathlib.Path(path))


def _flush(descriptor: int, path: pathlib.Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(path)
        raise


def _raise(error: OSError) -> None:
    raise error
