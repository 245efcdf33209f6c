"""CIFAR-10 and CIFAR-100 from a TFDS directory, without TensorFlow."""

import contextlib
import pathlib
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from softshare_jax.data import directories
from softshare_jax.errors import UserError


class Cifar(NamedTuple):
    """What is known of a CIFAR before it is read.

    Attributes:
        classes: number of classes.
        mean, std: of the three channels over the training images, from 0 to 255, as the
            paper's authors normalise them.
    """

    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


CIFARS = {
    "cifar10": Cifar(10, (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    "cifar100": Cifar(100, (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
}


def find(name: str, data_dir: str) -> pathlib.Path:
    """Returns the folder of a data set that lies there, ``DATA_DIR/cifar10/VERSION``.

    Args:
        name: ``'cifar10'`` or ``'cifar100'``.
        data_dir: folder of TFDS data sets; empty for that of TFDS, ``~/tensorflow_datasets``.

    Raises:
        UserError: it is not there.
    """
    folder = directories.newest(name, data_dir)
    if folder is None:
        raise UserError(f"{name} is not in {directories.root(data_dir)}")
    return folder


def prepare(name: str, data_dir: str) -> pathlib.Path:
    """Returns the folder of a data set, having made it where it was missing.

    An existing TFDS directory is taken as it is. Otherwise the official archive is fetched into
    ``DATA_DIR/downloads``, unless it lies there, and written as such a directory.

    Args:
        name: ``'cifar10'`` or ``'cifar100'``.
        data_dir: as for ``find``.

    Raises:
        UserError: the archive cannot be reached or is damaged, or the folder cannot be written.
    """
    if folder := directories.newest(name, data_dir):
        return folder
    from softshare_jax.data import cifar_archive  # pulls in the builders of TFDS

    return cifar_archive.prepare(name, directories.root(data_dir))


def load(name: str, data_dir: str) -> dict[str, dict[str, np.ndarray]]:
    """Reads and decodes a data set, both splits whole.

    Args:
        name: ``'cifar10'`` or ``'cifar100'``.
        data_dir: as for ``find``.

    Returns:
        ``{'train': ..., 'test': ...}``, each with ``images`` ``[N, 32, 32, 3]`` uint8 and ``labels``
        ``[N]`` int32, in the order of the directory.

    Raises:
        UserError: the data set is not there, or its files cannot be read.
    """
    import tensorflow_datasets as tfds  # a third of a second that --help need not wait for

    folder = find(name, data_dir)
    with _readable(folder):
        info = tfds.builder_from_directory(folder).info
        return {split: _read(info, split) for split in ("train", "test")}


@contextlib.contextmanager
def _readable(folder: pathlib.Path) -> Iterator[None]:
    """Turns whatever damaged files raise into one line."""
    try:
        yield
    except Exception as error:  # what damaged files raise is not documented
        said = " ".join(str(error).replace(f"{folder}/", "").split()) or type(error).__name__
        raise UserError(
            f"{folder} cannot be read ({said[:120]}): "
            "delete it and it is made again from the official archive"
        ) from error


def class_names(name: str, data_dir: str) -> list[str]:
    """Returns what the classes are called, by label.

    Raises:
        UserError: as for ``load``.
    """
    import tensorflow_datasets as tfds

    folder = find(name, data_dir)
    with _readable(folder):
        return list(tfds.builder_from_directory(folder).info.features["label"].names)


def _read(info: Any, split: str) -> dict[str, np.ndarray]:
    number = info.splits[split].num_examples
    images, labels = np.empty((number, 32, 32, 3), np.uint8), np.empty(number, np.int32)
    place = 0
    for file in info.splits[split].filepaths:
        for record in _records(str(file), info.file_format.value):
            example = info.features.deserialize_example_np(record)
            images[place], labels[place] = example["image"], example["label"]
            place += 1
    if place != number:
        raise ValueError(f"{split} holds {place} of {number} examples")
    return {"images": images, "labels": labels}


def _records(file: str, file_format: str) -> Iterator[bytes]:
    """Yields the serialised examples of a shard, in either of the formats that TFDS writes."""
    if file_format == "array_record":
        from array_record.python import array_record_module

        reader = array_record_module.ArrayRecordReader(file)
        try:
            yield from reader.read_all()
        finally:
            reader.close()
    elif file_format == "tfrecord":
        yield from _tfrecords(file)
    else:
        raise ValueError(f"the format {file_format} is not known here")


def _tfrecords(file: str) -> Iterator[bytes]:
    """Yields the records of a TFRecord file: length, its checksum, data, its checksum."""
    with open(file, "rb") as stream:
        while header := stream.read(12):
            (length,) = struct.unpack("<Q", header[:8])
            record = stream.read(length)
            if len(record) < length or len(stream.read(4)) < 4:
                raise ValueError(f"{file} ends in the middle of a record")
            yield record
