"""Files of ``torch.save``, read without PyTorch: what they hold, and numbers where they are asked for."""

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

# How the files of PyTorch up to 1.5 begin, after which the same number pickled follows.
_MAGIC = 0x1950A86A20F9469CFC6C


class TorchFile:
    """A file of ``torch.save``.

    Attributes:
        value: what was saved, as ``torch_pickle.load`` returns it.
        unknown: names of all that is unknown in it.
        size: of the file, in bytes.
    """

    def __init__(self, file: pathlib.Path):
        """Reads the file, but for the numbers of its tensors.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no such file, or holds more than its size. Other damage raises whatever pickle
                and zipfile do.
        """
        self.size = os.path.getsize(file)
        self._file = file
        self._numbers: dict[str, np.ndarray] = {}
        self._bytes: Callable[[Storage], bytes]
        with open(file, "rb") as stream:
            is_zip = stream.read(4) == b"PK\3\4"
        if is_zip and not zipfile.is_zipfile(file):
            raise ValueError("it is cut off")
        if not is_zip and tarfile.is_tarfile(file):
            raise ValueError("a tar archive, as of PyTorch 0.1: load it there and save it by a later one")
        self.value, self.unknown = self._open_zip() if is_zip else self._open_legacy()

    def array(self, tensor: Tensor | NumpyArray) -> np.ndarray:
        """Reads a tensor, or an array of numpy, in its own shape and dtype.

        Raises:
            ValueError: its numbers are not all there. Damage raises whatever zipfile does.
        """
        if isinstance(tensor, NumpyArray):
            return tensor.array
        storage = tensor.storage
        if storage.key not in self._numbers:
            data = self._bytes(storage)
            if len(data) != storage.size * storage.dtype.itemsize:
                raise ValueError(f"storage {storage.key} is cut off")
            self._numbers[storage.key] = np.frombuffer(data, storage.dtype)
        numbers = self._numbers[storage.key][tensor.offset :]
        strides = tuple(stride * storage.dtype.itemsize for stride in tensor.strides)
        return np.lib.stride_tricks.as_strided(numbers, tensor.shape, strides, writeable=False)

    def _open_zip(self) -> tuple[Any, tuple[str, ...]]:
        """Reads the layout since 1.6: a zip archive of ``NAME/data.pkl`` and a file for each storage."""
        with zipfile.ZipFile(self._file) as archive:
            entries = archive.infolist()
            # torch.save compresses nothing, so what is read is no larger than the file.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("its entries are compressed, and torch.save compresses nothing")
            if sum(entry.file_size for entry in entries) > self.size:
                raise ValueError("its entries are larger than the file")
            names = [entry.filename for entry in entries]
            pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
            if len(pickles) != 1:
                raise ValueError(
                    f"a zip archive with {len(pickles)} files data.pkl, and torch.save writes one"
                )
            folder = pickles[0].removesuffix("data.pkl")
            if any(name.endswith("/constants.pkl") for name in names):
                raise ValueError("a program of TorchScript: save the state_dict of the model")
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
                raise ValueError("it does not begin as torch.save begins")
            if not system.get("little_endian", True):
                raise ValueError("its numbers are big-endian")
            value, storages, unknown = torch_pickle.load(stream)
            for key in torch_pickle.load(stream)[0]:
                storage = storages[key]
                (size,) = struct.unpack("<q", stream.read(8))
                if size != storage.size:
                    raise ValueError(f"storage {key} has {size} numbers and should have {storage.size}")
                places[key] = stream.tell()
                stream.seek(size * storage.dtype.itemsize, os.SEEK_CUR)

        def read(storage: Storage) -> bytes:
            with open(self._file, "rb") as stream:
                stream.seek(places[storage.key])
                return stream.read(storage.size * storage.dtype.itemsize)

        self._bytes = read
        return value, unknown
