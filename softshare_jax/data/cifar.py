"""CIFAR-10 and CIFAR-100 from a TFDS directory, without TensorFlow."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from softshare_jax.data import directories, identity, tfrecord
from softshare_jax.errors import UserError, one_line


class Cifar(NamedTuple):
    """Constants of a CIFAR data set.

    Attributes:
        classes: number of classes.
        mean, std: of the three channels over the training images, on the scale 0 to 255, with the
            paper's values.
    """

    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


SPLITS = ("train", "test")
SHAPE = (32, 32, 3)
CIFARS = {
    "cifar10": Cifar(10, (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    "cifar100": Cifar(100, (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
}


def find(name: str, data_dir: str) -> pathlib.Path:
    """Returns the folder of an existing data set, ``DATA_DIR/cifar10/VERSION``.

    Args:
        name: ``'cifar10'`` or ``'cifar100'``.
        data_dir: folder of TFDS data sets; empty for the default of TFDS, ``~/tensorflow_datasets``.

    Raises:
        UserError: the data set is missing.
    """
    folder = directories.newest(name, data_dir, SPLITS)
    if folder is None:
        raise UserError(f"{name} is not in {directories.root(data_dir)}")
    return folder


def prepare(name: str, data_dir: str) -> pathlib.Path:
    """Returns the folder of a data set, and creates it if it is missing.

    An existing TFDS directory is used as it is. Otherwise the official archive is downloaded into
    ``DATA_DIR/downloads``, unless it is there, and converted. If several processes call this, one does the
    work and the others wait.

    Args:
        name: ``'cifar10'`` or ``'cifar100'``.
        data_dir: as for ``find``.

    Raises:
        UserError: the archive cannot be reached or is damaged, or the folder cannot be written.
    """
    if folder := directories.newest(name, data_dir, SPLITS):
        return folder
    from softshare_jax.data import cifar_archive  # imports the builders of TFDS

    return cifar_archive.prepare(name, directories.root(data_dir))


def load(name: str, data_dir: str) -> dict[str, dict[str, np.ndarray]]:
    """Reads and decodes both splits of a data set.

    Args:
        name: ``'cifar10'`` or ``'cifar100'``.
        data_dir: as for ``find``.

    Returns:
        ``{'train': ..., 'test': ...}``, each with ``images`` ``[N, 32, 32, 3]`` uint8 and ``labels``
        ``[N]`` int32, in the order of the directory.

    Raises:
        UserError: the data set is missing, or its files cannot be read.
    """
    folder = find(name, data_dir)
    with _opened(name, folder) as info:
        return {split: _read(info, split) for split in SPLITS}


def identify(name: str, data_dir: str, splits: dict[str, dict[str, np.ndarray]]) -> identity.DataSet:
    """Returns what a data set is: official if ``cifar_archive`` made it and it has not changed since.

    Args:
        name: ``'cifar10'`` or ``'cifar100'``.
        data_dir: as for ``find``.
        splits: what ``load`` returned.

    Raises:
        UserError: as for ``load``.
    """
    with _opened(name, find(name, data_dir)) as info:
        version, description = str(info.version), str(info.description).strip()
    digest = identity.digest(splits)
    official = description == identity.official_description(name, digest)
    return identity.DataSet(name, version, description, digest, official)


def class_names(name: str, data_dir: str) -> list[str]:
    """Returns the names of the classes, by label.

    Raises:
        UserError: as for ``load``.
    """
    with _opened(name, find(name, data_dir)) as info:
        return list(info.features["label"].names)


@contextlib.contextmanager
def _opened(name: str, folder: pathlib.Path) -> Iterator[Any]:
    """Yields the description of a data set, and turns errors from damaged files into a ``UserError``."""
    from softshare_jax.data import tfds_directory  # takes a third of a second; --help need not wait

    try:
        info = tfds_directory.read(folder)
        classes = info.features["label"].num_classes
        if classes != CIFARS[name].classes:
            raise ValueError(f"it has {classes} classes; {name} has {CIFARS[name].classes}")
        yield info
    except Exception as error:  # the exceptions for damaged files are not documented
        raise UserError(
            f"{folder} cannot be read ({one_line(error, folder=folder)}): "
            "delete it to create it again from the official archive"
        ) from error


def _read(info: Any, split: str) -> dict[str, np.ndarray]:
    from softshare_jax.data import tfds_directory

    files, number = tfds_directory.files(info, split), info.splits[split].num_examples
    images, labels = np.empty((number, *SHAPE), np.uint8), np.empty(number, np.int32)
    place = 0
    for file in files:
        for record in _records(file, info.file_format.value):
            example = info.features.deserialize_example_np(record)
            image, label = example["image"], int(example["label"])
            # Without this check numpy would broadcast a gray image to three channels.
            if image.shape != SHAPE or not 0 <= label < info.features["label"].num_classes:
                raise ValueError(f"{split} has an image of shape {image.shape} and class {label}")
            images[place], labels[place] = image, label
            place += 1
    if place != number:
        raise ValueError(f"{split} has {place} of {number} examples")
    return {"images": images, "labels": labels}


def _records(file: str, file_format: str) -> Iterator[bytes]:
    """Yields the serialized examples of a shard, in either of the two formats that TFDS writes."""
    if file_format == "array_record":
        from array_record.python import array_record_module

        reader = array_record_module.ArrayRecordReader(file)
        try:
            yield from reader.read_all()
        finally:
            reader.close()
    elif file_format == "tfrecord":
        yield from tfrecord.read(file)
    else:
        raise ValueError(f"unknown file format {file_format}; it must be array_record or tfrecord")
