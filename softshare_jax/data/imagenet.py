"""ImageNet as it lies on disk, one encoded image at a time, without TensorFlow."""

import os
import pathlib
from typing import Any, NamedTuple, Protocol

import numpy as np

from softshare_jax.data import directories
from softshare_jax.errors import UserError

NAME = "imagenet2012"
# Of the three channels over the training images, from 0 to 255, as torchvision has them.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
ENDINGS = (".jpeg", ".jpg", ".png")
# What TFDS and the usual folders call the images that models are measured on.
TFDS_SPLITS = {"train": "train", "test": "validation"}
FOLDERS = {"train": "train", "test": "val"}


class Encoded(NamedTuple):
    """An image as it lies on disk.

    Attributes:
        data: the content of its file.
        label: its class.
        name: what to call it in a message.
    """

    data: bytes
    label: int
    name: str


class Source(Protocol):
    """The images of a split, in any order; several threads may read at once.

    Attributes:
        class_names: by label.
    """

    class_names: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Encoded: ...


def open_split(split: str, data_dir: str) -> Source:
    """Opens a split of ImageNet; nothing but names is read yet.

    Args:
        split: ``'train'``, or ``'test'`` for the 50,000 images that ImageNet calls validation.
        data_dir: a folder with a TFDS directory ``imagenet2012/VERSION`` of array_record files, or
            with folders ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``; empty for that of TFDS,
            ``~/tensorflow_datasets``.

    Raises:
        UserError: it is not there, or not as it has to be.
    """
    folder, root = directories.newest(NAME, data_dir), directories.root(data_dir)
    if folder is not None:
        return TfdsSource(folder, TFDS_SPLITS[split])
    if (root / FOLDERS["train"]).is_dir() or (root / FOLDERS["test"]).is_dir():
        return FolderSource(root / FOLDERS[split])
    raise UserError(
        f"{NAME} is not in {root}: put the folders train/CLASS/*.JPEG and val/CLASS/*.JPEG there, or a TFDS "
        f"directory {NAME}/VERSION of array_record files, or name another folder with --config.data_dir=DIR"
    )


class FolderSource:
    """Folders of images by class, ``n01440764/n01440764_18.JPEG``; labels count the sorted folders.

    Attributes:
        class_names: by label; the names of the folders.
    """

    def __init__(self, folder: pathlib.Path):
        """Lists the files.

        Raises:
            UserError: there is no such folder, or it holds no folders of images.
        """
        self._folder = folder
        if not folder.is_dir():
            raise UserError(f"{folder} is not there: it holds a folder of JPEG files for each class")
        self.class_names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        if not self.class_names:
            raise UserError(f"{folder} holds no folders: sort its images into one for each class")
        self._files: list[str] = []
        numbers = []
        for name in self.class_names:
            files = sorted(
                entry.name for entry in os.scandir(folder / name) if entry.name.lower().endswith(ENDINGS)
            )
            if not files:
                raise UserError(f"{folder / name} holds no image: the files there end in .JPEG")
            self._files += files
            numbers.append(len(files))
        self._labels = np.repeat(np.arange(len(numbers), dtype=np.int32), numbers)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Encoded:
        label = int(self._labels[index])
        path = self._folder / self.class_names[label] / self._files[index]
        return Encoded(path.read_bytes(), label, str(path))


class TfdsSource:
    """A split of a TFDS directory in the array_record format, in its order.

    Attributes:
        class_names: by label.
    """

    def __init__(self, folder: pathlib.Path, split: str):
        """Opens the files.

        Raises:
            UserError: the directory has another format, lacks the split, or cannot be read.
        """
        import tensorflow_datasets as tfds

        try:
            info = tfds.builder_from_directory(folder).info
            file_format, there = info.file_format.value, list(info.splits)
        except Exception as error:  # what damaged files raise is not documented
            raise UserError(f"{folder} cannot be read ({_one_line(error)})") from error
        if file_format != "array_record":
            raise UserError(
                f"{folder} is in the format {file_format}, whose images cannot be had in any order: "
                f"write it with tfds build {NAME} --file_format=array_record"
            )
        if split not in there:
            raise UserError(f"{folder} has no split {split}, it has {', '.join(there)}")
        self._folder, self._split = folder, split
        self._features = info.features
        self._skip = {"image": tfds.decode.SkipDecoding()}
        self._records: Any = info.splits[split]
        self._open()
        self.class_names = list(info.features["label"].names)

    def _open(self) -> None:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        try:
            self._records = ArrayRecordDataSource(list(map(str, self._records.filepaths)))
        except Exception as error:  # what damaged files raise is not documented
            raise UserError(f"{self._folder} cannot be read ({_one_line(error)})") from error

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Encoded:
        """Reads a record.

        Raises:
            UserError: it cannot be read.
        """
        name = f"record {index} of {self._split} in {self._folder}"
        try:
            example = self._features.deserialize_example_np(self._records[index], decoders=self._skip)
        except Exception as error:  # what damaged files raise is not documented
            raise UserError(f"{name} cannot be read ({_one_line(error)})") from error
        file = example.get("file_name", b"")
        return Encoded(bytes(example["image"]), int(example["label"]), f"{file.decode()} ({name})")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
