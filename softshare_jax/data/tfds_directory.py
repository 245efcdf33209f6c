"""Reads the description of a TFDS directory without importing the modules that it names."""

import functools
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds

from softshare_jax.errors import one_line

INFO, FEATURES = "dataset_info.json", "features.json"
# Keys of class names in features.json. TFDS would import the module of a class that it does not know.
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type")


def read(folder: pathlib.Path) -> tfds.core.DatasetInfo:
    """Reads the description of a data set: its splits, their files and the features of an example.

    Raises:
        ValueError: a file is missing, or a feature is not one of TFDS. The exceptions of TFDS for damaged
            files are not documented.
    """
    for name in (INFO, FEATURES):
        if not (folder / name).is_file():
            raise ValueError(f"{name} is missing")
    for name in _classes(json.loads((folder / FEATURES).read_text())):
        if name not in _known():
            raise ValueError(f"{FEATURES} names {name}, which is not a TFDS feature and is not imported")
    return tfds.builder_from_directory(folder).info


def problem(folder: pathlib.Path, splits: Sequence[str]) -> str | None:
    """Returns why a directory cannot be read, in a few words, or ``None`` if it is complete.

    Does not read the records; reading them later finds damage in them.
    """
    try:
        info = read(folder)
        for split in splits:
            files(info, split)
    except Exception as error:  # the exceptions for damaged files are not documented
        return one_line(error, folder=folder)
    return None


def files(info: tfds.core.DatasetInfo, split: str) -> list[str]:
    """Returns the files of a split, in order.

    Raises:
        ValueError: the split or a file is missing.
    """
    if split not in info.splits:
        raise ValueError(f"it has no split {split}; it has {', '.join(info.splits) or 'none'}")
    found = [pathlib.Path(file) for file in info.splits[split].filepaths]
    for file in found:
        if not file.is_file():
            raise ValueError(f"{file.name} is missing")
    return list(map(str, found))


def _classes(value: Any) -> Iterator[str]:
    """Yields all class names in features.json, including nested JSON texts, which old versions write."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _CLASS_KEYS and isinstance(inner, str):
                yield inner
            else:
                yield from _classes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _classes(inner)
    elif isinstance(value, str):
        try:
            quoted = json.loads(value)
        except ValueError:
            return
        yield from _classes(quoted)


@functools.cache
def _known() -> frozenset[str]:
    """Returns the names of TFDS's own feature classes."""
    public = (getattr(tfds.features, name) for name in tfds.features.__all__)
    classes = (c for c in public if isinstance(c, type) and issubclass(c, tfds.features.FeatureConnector))
    return frozenset(f"{c.__module__}.{c.__qualname__}" for c in classes)
