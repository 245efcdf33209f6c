"""Where data sets lie."""

import pathlib


def root(data_dir: str) -> pathlib.Path:
    """Returns a folder of data sets; that of TFDS, ``~/tensorflow_datasets``, where ``data_dir`` is empty."""
    if data_dir:
        return pathlib.Path(data_dir).expanduser().absolute()
    from tensorflow_datasets.core import constants

    return pathlib.Path(constants.DATA_DIR).expanduser()


def newest(name: str, data_dir: str) -> pathlib.Path | None:
    """Returns the newest TFDS directory of a data set, ``DATA_DIR/NAME/VERSION``; ``None`` without one."""
    versions = [info.parent for info in (root(data_dir) / name).glob("*/dataset_info.json")]
    by_version = {tuple(int(n) for n in folder.name.split(".") if n.isdigit()): folder for folder in versions}
    return by_version[max(by_version)] if by_version else None
