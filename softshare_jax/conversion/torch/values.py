"""What stands for the objects of a PyTorch checkpoint, none of which is made."""

import math
import pickle
import re
from typing import NamedTuple

import numpy as np


class Storage(NamedTuple):
    """Numbers that lie beside the pickle.

    Attributes:
        key: where.
        dtype: of each.
        size: how many.
    """

    key: str
    dtype: np.dtype
    size: int


class Tensor(NamedTuple):
    """A tensor whose numbers have not been read.

    Attributes:
        storage: where they lie.
        offset: of the first, in numbers.
        shape: of the tensor.
        strides: from one place to the next in each dimension, in numbers.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers in memory."""
        return math.prod(self.shape) * self.storage.dtype.itemsize


class Unknown:
    """Stands in for an object of a class or function that is not looked up.

    Attributes:
        path: the name that the pickle gave, such as ``'utils.RecorderMeter'``.
    """

    path = ""

    def __new__(cls, *_, **__):  # noqa: D102
        return super().__new__(cls)

    def __init__(self, *_, **__):
        pass

    def __call__(self, *_, **__):
        """Forgets the call."""
        return self

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def append(self, item):
        """Forgets an item."""

    # What pickle calls to fill lists and sets of a class of their own.
    extend = add = append


class Dict(dict):
    """A dictionary that keeps no attributes, of which a pickle may set any."""

    __slots__ = ()

    def __init__(self, *pairs):
        # A default dictionary comes with its function and without pairs.
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
        """Returns what numpy wrote as bytes, or Python 2 as text."""
        if not re.fullmatch(r"[biufc]\d\d?", self._code) or self._order not in ("=", "<", ">", "|"):
            raise pickle.UnpicklingError(f"an array of numpy's type {self._code} is no array of numbers")
        data = data.encode("latin1") if isinstance(data, str) else data
        return np.frombuffer(data, np.dtype(self._order + self._code))


class NumpyArray:
    """An array of numpy.

    Attributes:
        array: it; empty until the pickle has said what it holds.
    """

    def __init__(self, *_):
        self.array = np.empty(0)

    def __setstate__(self, state):
        _, shape, dtype, fortran, data = state
        self.array = dtype.numbers(data).reshape(shape, order="F" if fortran else "C")

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.array.shape

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers in memory."""
        return self.array.nbytes
