"""CIFAR-10 and CIFAR-100 from a TFDS directory, without TensorFlow."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from softshare_jax.data import directories, tfrecord
from softshare_jax.errors import UserError, one_line


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


SPLITS = ("train", "test")
SHAPE = (32, 32, 3)
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
    folder = directories.newest(name, data_dir, SPLITS)
    if folder is None:
        raise UserError(f"{name} is not in {directories.root(data_dir)}")
    return folder


def prepare(name: str, data_dir: str) -> pathlib.Path:
    """Returns the folder of a data set, having made it where it was missing.

    An existing TFDS directory is taken as it is. Otherwise the official archive is fetched into
    ``DATA_DIR/downloads``, unless it lies there, and written as such a directory. Of several processes one
    does so, and the others wait for it.

    Args:
        name: ``'cifar10'`` or ``'cifar100'``.
        data_dir: as for ``find``.

    Raises:
        UserError: the archive cannot be reached or is damaged, or the folder cannot be written.
    """
    if folder := directories.newest(name, data_dir, SPLITS):
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
    folder = find(name, data_dir)
    with _opened(name, folder) as info:
        return {split: _read(info, split) for split in SPLITS}


def class_names(name: str, data_dir: str) -> list[str]:
    """Returns what the classes are called, by label.

    Raises:
        UserError: as for ``load``.
    """
    with _opened(name, find(name, data_dir)) as info:
        return list(info.features["label"].names)


@contextlib.contextmanager
def _opened(name: str, folder: pathlib.Path) -> Iterator[Any]:
    """Yields the description of a data set, and turns whatever damaged files raise into one line."""
    from softshare_jax.data import tfds_directory  # a third of a second that --help need not wait for

    try:
        info = tfds_directory.read(folder)
        classes = info.features["label"].num_classes
        if classes != CIFARS[name].classes:
            raise ValueError(f"it has {classes} classes, and {name} has {CIFARS[name].classes}")
        yield info
    except Exception as error:  # what damaged files raise is not documented
        raise UserError(
            f"{folder} cannot be read ({one_line(error, folder=folder)}): "
            "delete it and it is made again from the official archive"
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
            # numpy would spread a grey image over three channels.
            if image.shape != SHAPE or not 0 <= label < info.features["label"].num_classes:
                raise ValueError(f"an image of {split} is {image.shape}, of class {label}")
            images[place], labels[place] = image, label
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
        yield from tfrecord.read(file)
    else:
        raise ValueError(f"the format {file_format} is not known here")
