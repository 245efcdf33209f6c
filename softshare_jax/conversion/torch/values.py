"""Replacements for the objects in a PyTorch checkpoint, which are not created."""

import math
import pickle
import re
from typing import NamedTuple

import numpy as np


class Storage(NamedTuple):
    """Numbers that are stored beside the pickle.

    Attributes:
        key: name of the storage in the file.
        dtype: dtype of the numbers.
        size: number of elements.
    """

    key: str
    dtype: np.dtype
    size: int


class Tensor(NamedTuple):
    """A tensor whose numbers have not been read.

    Attributes:
        storage: storage of its numbers.
        offset: position of the first number in the storage.
        shape: shape of the tensor.
        strides: strides of the tensor, in numbers.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size of its numbers in memory, in bytes."""
        return math.prod(self.shape) * self.storage.dtype.itemsize


class Unknown:
    """Replaces an object whose class or function is not known.

    Attributes:
        path: the name in the pickle, such as ``'utils.RecorderMeter'``.
    """

    path = ""

    def __new__(cls, *_, **__):  # noqa: D102
        return super().__new__(cls)

    def __init__(self, *_, **__):
        pass

    def __call__(self, *_, **__):
        """Ignores the call."""
        return self

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def append(self, item):
        """Ignores an item."""

    # Pickle calls these to fill subclasses of list and set.
    extend = add = append


class Dict(dict):
    """A dictionary that ignores the attributes that a pickle sets."""

    __slots__ = ()

    def __init__(self, *pairs):
        # A defaultdict has its factory as the argument, and no pairs.
        super().__init__(*(some for some in pairs if isinstance(some, list | dict)))

    def __setstate__(self, state):
        pass


class NumpyType:
    """A numpy dtype: its code, such as 'f8', and its byte order."""

    def __init__(self, code: str, *_):
        self._code, self._order = code, "="

    def __setstate__(self, state):
        self._order = state[1]

    def numbers(self, data: bytes | str) -> np.ndarray:
        """Returns an array from bytes of numpy, or from text of Python 2."""
        if not re.fullmatch(r"[biufc]\d\d?", self._code) or self._order not in ("=", "<", ">", "|"):
            raise pickle.UnpicklingError(f"numpy arrays of type {self._code} are not supported")
        data = data.encode("latin1") if isinstance(data, str) else data
        return np.frombuffer(data, np.dtype(self._order + self._code))


class NumpyArray:
    """A numpy array.

    Attributes:
        array: the array; empty until the pickle sets its content.
    """

    def __init__(self, *_):
        self.array = np.empty(0)

    def __setstate__(self, state):
        _, shape, dtype, fortran, data = state
        self.array = dtype.numbers(data).reshape(shape, order="F" if fortran else "C")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    @property
    def nbytes(self) -> int:
        """Size of its numbers in memory, in bytes."""
        return self.array.nbytes
