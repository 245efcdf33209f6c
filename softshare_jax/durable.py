"""Writes files and folders so that they survive a power loss.

A file is on disk when its data and its folder entry are flushed. Closing a file flushes neither, and a rename
only changes entries. Every function here returns when its effect is on disk.

An unfinished file or folder is beside its target, as ``.NAME.0123456789ab.partial``. The name is unique, so
it replaces nothing. Leftovers of killed processes can be deleted.
"""

import contextlib
import errno
import os
import pathlib
import uuid
from collections.abc import Iterator

# Errors of file systems that cannot flush a folder.
UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP)
# Errors of file systems without hard links.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
# File names have at most 255 bytes, so a partial keeps only the first characters of its target's name.
KEPT_CHARACTERS = 40


def partial(path: pathlib.Path) -> pathlib.Path:
    """Returns a path for an unfinished file or folder beside its target; each call returns a new one."""
    return path.with_name(f".{path.name[:KEPT_CHARACTERS]}.{uuid.uuid4().hex[:12]}.partial")


def write(file: pathlib.Path, content: bytes) -> None:
    """Replaces a file atomically: the disk has its old content or its new content, never a part.

    Several writers of one file do not disturb each other; the last one to finish wins.

    Args:
        file: file to write; its folder must exist.
        content: content of the file.

    Raises:
        OSError: the file cannot be written; no partial file remains.
    """
    with _finished(file, content) as finished:
        rename(finished, file)


def write_new(file: pathlib.Path, content: bytes) -> None:
    """Creates a file that must not exist; it appears with all its content. Of several writers one succeeds.

    Args:
        file: file to create; its folder must exist.
        content: content of the file.

    Raises:
        FileExistsError: the name is in use; what it names does not change.
        OSError: the file cannot be written; no partial file remains.
    """
    with _finished(file, content) as finished:
        try:
            os.link(finished, file)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            # An empty file reserves the name until the complete file replaces it.
            os.close(os.open(file, os.O_CREAT | os.O_EXCL))
            os.replace(finished, file)
        fsync_folder(file.parent)


@contextlib.contextmanager
def _finished(file: pathlib.Path, content: bytes) -> Iterator[pathlib.Path]:
    """Yields a partial file with the content, flushed to disk; removes it if it remains."""
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
    """Renames a file or a folder. The target of a folder must be missing or empty.

    Args:
        source: file or folder, with its content already on disk.
        target: new path on the same file system.

    Raises:
        OSError: it cannot be renamed.
    """
    os.replace(source, target)
    fsync_folder(target.parent)
    if source.parent != target.parent:
        fsync_folder(source.parent)


def make_folder(folder: pathlib.Path) -> None:
    """Creates a folder and its missing parents.

    Raises:
        OSError: a folder cannot be created.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        fsync_folder(path.parent)


def fsync_file(file: pathlib.Path) -> None:
    """Flushes an existing file.

    Raises:
        OSError: it is missing, or the disk reports an error.
    """
    descriptor = os.open(file, os.O_RDONLY)
    try:
        _flush(descriptor, file)
    finally:
        os.close(descriptor)


def fsync_folder(folder: pathlib.Path) -> None:
    """Flushes the entries of a folder, but not the files and folders that they refer to.

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
