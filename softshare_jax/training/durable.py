"""Writes that survive a power loss.

A file is on disk when its data and its entry in the folder are flushed. Closing a file flushes neither of
them, and a rename only changes entries. Every function here returns when what it did is on disk.
"""

import contextlib
import errno
import os
import pathlib
import uuid

# What a file system answers that cannot flush a folder.
UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP)


def write(file: pathlib.Path, content: bytes) -> None:
    """Replaces a file: the disk holds its old content or its new one, never a part.

    Writers of one file do not disturb each other; the last one to finish wins.

    Args:
        file: to write; its folder exists.
        content: of the file.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    partial = file.with_name(f".{file.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        with open(partial, "xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        rename(partial, file)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


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
        os.fsync(descriptor)
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


def _raise(error: OSError) -> None:
    raise error
