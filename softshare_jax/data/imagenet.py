"""ImageNet on disk: access to single encoded images, without TensorFlow."""

import pathlib
from typing import Any

from softshare_jax.data import directories
from softshare_jax.data.image_folder import FolderSource
from softshare_jax.data.source import Encoded, Source
from softshare_jax.errors import UserError, one_line

NAME = "imagenet2012"
# Of the three channels over the training images, on the scale 0 to 255, as in torchvision.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
# Names of our splits in TFDS and in the usual folders.
TFDS_SPLITS = {"train": "train", "test": "validation"}
FOLDERS = {"train": "train", "test": "val"}


def open_split(split: str, data_dir: str) -> Source:
    """Opens a split of ImageNet; reads only names, not images.

    Args:
        split: ``'train'``, or ``'test'`` for the 50,000 images that ImageNet calls validation.
        data_dir: a folder with a TFDS directory ``imagenet2012/VERSION`` of array_record files, or
            with folders ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``; empty for the default of TFDS,
            ``~/tensorflow_datasets``.

    Raises:
        UserError: the split is missing or has an unsupported layout.
    """
    folder = directories.newest(NAME, data_dir, tuple(TFDS_SPLITS.values()))
    root = directories.root(data_dir)
    if folder is not None:
        return TfdsSource(folder, TFDS_SPLITS[split])
    if (root / FOLDERS["train"]).is_dir() or (root / FOLDERS["test"]).is_dir():
        return FolderSource(root / FOLDERS[split])
    raise UserError(
        f"{NAME} is not in {root}: put the folders train/CLASS/*.JPEG and val/CLASS/*.JPEG there, or a TFDS "
        f"directory {NAME}/VERSION of array_record files, or set --config.data_dir=DIR to another folder"
    )


class TfdsSource:
    """A split of a TFDS directory in the array_record format, in the order of its records.

    Attributes:
        class_names: names of the classes, by label.
    """

    def __init__(self, folder: pathlib.Path, split: str):
        """Opens the files.

        Raises:
            UserError: the directory has another format, lacks the split, or cannot be read.
        """
        import tensorflow_datasets as tfds
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        from softshare_jax.data import tfds_directory

        self._folder, self._split = folder, split
        try:
            info = tfds_directory.read(folder)
            file_format = info.file_format.value
            if file_format != "array_record":
                raise UserError(
                    f"{folder} is in the format {file_format}, which does not support random access: "
                    f"write it with tfds build {NAME} --file_format=array_record"
                )
            self._features, self.class_names = info.features, list(info.features["label"].names)
            self._records: Any = ArrayRecordDataSource(tfds_directory.files(info, split))
            if len(self._records) != info.splits[split].num_examples:
                number = info.splits[split].num_examples
                raise ValueError(f"{split} has {len(self._records)} of {number} examples")
        except UserError:
            raise
        except Exception as error:  # the exceptions for damaged files are not documented
            raise UserError(f"{folder} cannot be read ({one_line(error, folder=folder)})") from error
        self._skip = {"image": tfds.decode.SkipDecoding()}

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Encoded:
        """Reads a record.

        Raises:
            UserError: the record cannot be read.
        """
        name = f"record {index} of {self._split} in {self._folder}"
        try:
            example = self._features.deserialize_example_np(self._records[index], decoders=self._skip)
            label = int(example["label"])
            if not 0 <= label < len(self.class_names):
                raise ValueError(f"its label is {label}, but there are {len(self.class_names)} classes")
        except Exception as error:  # the exceptions for damaged files are not documented
            raise UserError(f"{name} cannot be read ({one_line(error, folder=self._folder)})") from error
        file = example.get("file_name", b"").decode(errors="backslashreplace")
        return Encoded(bytes(example["image"]), label, f"{file} ({name})")
