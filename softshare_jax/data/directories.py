"""Where data sets lie, and which version of one is read."""

import functools
import logging
import pathlib
import re
from collections.abc import Sequence

from softshare_jax import paths

# As TFDS names the folders of a data set: three numbers. A copy such as 3.0.2.bak is no version.
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def root(data_dir: str) -> pathlib.Path:
    """Returns a folder of data sets; that of TFDS, ``~/tensorflow_datasets``, where ``data_dir`` is empty.

    Raises:
        UserError: it is no folder of this machine.
    """
    if data_dir:
        return paths.local(data_dir)
    from tensorflow_datasets.core import constants

    return paths.local(constants.DATA_DIR)


def newest(name: str, data_dir: str, splits: Sequence[str]) -> pathlib.Path | None:
    """Returns the TFDS directory of a data set to read, ``DATA_DIR/NAME/VERSION``; ``None`` without one.

    It is the newest whole version. A newer one that is not whole is passed over with a line. Where no
    version is whole it is the newest, so that reading it says what is wrong.

    Args:
        name: of the data set.
        data_dir: as for ``root``.
        splits: that a whole version has.
    """
    folders = {
        tuple(map(int, match.groups())): folder
        for folder in (root(data_dir) / name).glob("*")
        if (match := _VERSION.fullmatch(folder.name)) and folder.is_dir()
    }
    if not folders:
        return None
    from softshare_jax.data import tfds_directory  # a third of a second

    ordered = [folders[version] for version in sorted(folders, reverse=True)]
    passed_over: list[str] = []
    for folder in ordered:
        problem = tfds_directory.problem(folder, splits)
        if problem is None:
            for line in passed_over:
                _say_once(line)
            return folder
        passed_over.append(f"{folder} is passed over: {problem}")
    return ordered[0]


log = logging.getLogger(__name__)


@functools.cache
def _say_once(line: str) -> None:
    """Logs a line, once in a process: a data set is looked for several times."""
    log.warning(line)
