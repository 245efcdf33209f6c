"""Finds the folders of data sets and chooses a version."""

import functools
import logging
import pathlib
import re
from collections.abc import Sequence

from softshare_jax import paths

# TFDS names version folders with three numbers. A copy such as 3.0.2.bak is not a version.
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def root(data_dir: str) -> pathlib.Path:
    """Returns the folder of data sets: ``data_dir``, or by default that of TFDS, ``~/tensorflow_datasets``.

    Raises:
        UserError: it is not a path on this machine.
    """
    if data_dir:
        return paths.local(data_dir)
    from tensorflow_datasets.core import constants

    return paths.local(constants.DATA_DIR)


def newest(name: str, data_dir: str, splits: Sequence[str]) -> pathlib.Path | None:
    """Returns the TFDS directory to read, ``DATA_DIR/NAME/VERSION``, or ``None`` if there is none.

    It is the newest complete version; each newer, incomplete one is skipped with a warning. If no version is
    complete, it is the newest one, so that reading it reports the problem.

    Args:
        name: name of the data set.
        data_dir: as for ``root``.
        splits: splits that a complete version has.
    """
    folders = {
        tuple(map(int, match.groups())): folder
        for folder in (root(data_dir) / name).glob("*")
        if (match := _VERSION.fullmatch(folder.name)) and folder.is_dir()
    }
    if not folders:
        return None
    from softshare_jax.data import tfds_directory  # the import takes a third of a second

    ordered = [folders[version] for version in sorted(folders, reverse=True)]
    skipped: list[str] = []
    for folder in ordered:
        problem = tfds_directory.problem(folder, splits)
        if problem is None:
            for line in skipped:
                _say_once(line)
            return folder
        skipped.append(f"{folder} is skipped: {problem}")
    return ordered[0]


log = logging.getLogger(__name__)


@functools.cache
def _say_once(line: str) -> None:
    """Logs a warning once per process, because data sets are looked up several times."""
    log.warning(line)
