"""Reads files of ``torch.save`` without PyTorch; loads the numbers of tensors on demand."""

import io
import os
import pathlib
import struct
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from softshare_jax.conversion.torch import pickle as torch_pickle
from softshare_jax.conversion.torch.values import NumpyArray, Storage, Tensor

# The first pickle in files of PyTorch up to 1.5.
_MAGIC = 0x1950A86A20F9469CFC6C


class TorchFile:
    """A file of ``torch.save``.

    Attributes:
        value: the saved object, as ``torch_pickle.load`` returns it.
        unknown: names of unknown classes and functions in it.
        size: size of the file in bytes.
    """

    def __init__(self, file: pathlib.Path):
        """Reads the file, except the numbers of its tensors.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not a torch.save file, or its entries are larger than the file. Other damage
                raises exceptions of pickle and zipfile.
        """
        self.size = os.path.getsize(file)
        self._file = file
        self._numbers: dict[str, np.ndarray] = {}
        self._bytes: Callable[[Storage], bytes]
        with open(file, "rb") as stream:
            is_zip = stream.read(4) == b"PK\3\4"
        if is_zip and not zipfile.is_zipfile(file):
            raise ValueError("it is truncated")
        if not is_zip and tarfile.is_tarfile(file):
            raise ValueError("a tar archive of PyTorch 0.1: save it again with a newer PyTorch")
        self.value, self.unknown = self._open_zip() if is_zip else self._open_legacy()

    def array(self, tensor: Tensor | NumpyArray) -> np.ndarray:
        """Returns the numbers of a tensor or a numpy array, in its own shape and dtype.

        Raises:
            ValueError: the storage is truncated. Other damage raises exceptions of zipfile.
        """
        if isinstance(tensor, NumpyArray):
            return tensor.array
        storage = tensor.storage
        if storage.key not in self._numbers:
            data = self._bytes(storage)
            if len(data) != storage.size * storage.dtype.itemsize:
                raise ValueError(f"storage {storage.key} is truncated")
            self._numbers[storage.key] = np.frombuffer(data, storage.dtype)
        numbers = self._numbers[storage.key][tensor.offset :]
        strides = tuple(stride * storage.dtype.itemsize for stride in tensor.strides)
        return np.lib.stride_tricks.as_strided(numbers, tensor.shape, strides, writeable=False)

    def _open_zip(self) -> tuple[Any, tuple[str, ...]]:
        """Reads the layout since 1.6: a zip archive of ``NAME/data.pkl`` and a file for each storage."""
        with zipfile.ZipFile(self._file) as archive:
            entries = archive.infolist()
            # torch.save does not compress. With these checks no more is read than the size of the file.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("its entries are compressed; torch.save does not compress")
            if sum(entry.file_size for entry in entries) > self.size:
                raise ValueError("its entries are larger than the file")
            names = [entry.filename for entry in entries]
            pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
            if len(pickles) != 1:
                raise ValueError(f"a zip archive with {len(pickles)} files data.pkl; torch.save writes one")
            folder = pickles[0].removesuffix("data.pkl")
            if any(name.endswith("/constants.pkl") for name in names):
                raise ValueError("a TorchScript program: save the state_dict of the model")
            if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
                raise ValueError("its numbers are big-endian")
            value, _, unknown = torch_pickle.load(io.BytesIO(archive.read(pickles[0])))

        def read(storage: Storage) -> bytes:
            with zipfile.ZipFile(self._file) as archive:
                return archive.read(f"{folder}data/{storage.key}")

        self._bytes = read
        return value, unknown

    def _open_legacy(self) -> tuple[Any, tuple[str, ...]]:
        """Reads the layout up to 1.5: five pickles, then the storages in the order of the last."""
        places: dict[str, int] = {}
        with open(self._file, "rb") as stream:
            magic, _, system = (torch_pickle.load(stream)[0] for _ in range(3))
            if magic != _MAGIC or not isinstance(system, dict):
                raise ValueError("it has no magic number of torch.save")
            if not system.get("little_endian", True):
                raise ValueError("its numbers are big-endian")
            value, storages, unknown = torch_pickle.load(stream)
            for key in torch_pickle.load(stream)[0]:
                storage = storages[key]
                (size,) = struct.unpack("<q", stream.read(8))
                if size != storage.size:
                    raise ValueError(f"storage {key} has {size} numbers; expected {storage.size}")
                places[key] = stream.tell()
                stream.seek(size * storage.dtype.itemsize, os.SEEK_CUR)

        def read(storage: Storage) -> bytes:
            with open(self._file, "rb") as stream:
                stream.seek(places[storage.key])
                return stream.read(storage.size * storage.dtype.itemsize)

        self._bytes = read
        return value, unknown
