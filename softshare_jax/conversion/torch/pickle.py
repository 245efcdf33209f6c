"""Unpickles files of ``torch.save`` without executing their code.

A pickle names functions and classes and calls them. Here the few names that a checkpoint needs, such as a
tensor, map to safe replacements. All other names map to ``Unknown``, which ignores its arguments.
"""

import pickle
import pickletools
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, NamedTuple

import jax.numpy as jnp
import numpy as np

from softshare_jax.conversion.torch.values import Dict, NumpyArray, NumpyType, Storage, Tensor, Unknown

DTYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": jnp.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
    "ComplexFloatStorage": np.complex64,
    "ComplexDoubleStorage": np.complex128,
    # Types of tensors that we do not convert; files up to 1.5 store them between the others.
    "UntypedStorage": np.uint8,
    "QInt8Storage": np.int8,
    "QUInt8Storage": np.uint8,
    "QInt32Storage": np.int32,
    "QUInt4x2Storage": np.uint8,
    "QUInt2x4Storage": np.uint8,
}


class _Kind(NamedTuple):
    """A storage class of PyTorch, with the dtype of its numbers."""

    dtype: np.dtype


class _Call:
    """A function that a pickle may call, but not change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, *args):
        """Calls the function."""
        return self._function(*args)

    def __setstate__(self, state):
        raise pickle.UnpicklingError("it changes a function")


def load(stream: BinaryIO) -> tuple[Any, dict[str, Storage], tuple[str, ...]]:
    """Reads one pickle and leaves the stream at its end.

    Returns:
        The object, made of numbers, texts, lists, tuples, dictionaries, ``Tensor``, ``NumpyArray`` and, for
        anything else, ``Unknown``; the storages by key; and the names of unknown classes and functions.

    Raises:
        pickle.UnpicklingError: it is damaged. Other damage raises exceptions of pickle and pickletools.
    """
    start = stream.tell()
    for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        # Pickle keeps the memo in an array, so one large index would take all memory.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > number:
            raise pickle.UnpicklingError("its memo index is larger than its number of objects")
    stream.seek(start)
    unpickler = _Unpickler(stream)
    return unpickler.load(), unpickler.storages, tuple(unpickler.unknown)


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: BinaryIO):
        # Texts of Python 2 are bytes; latin1 maps each byte to one character.
        super().__init__(stream, encoding="latin1")
        self.storages: dict[str, Storage] = {}
        self.unknown: dict[str, type[Unknown]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Returns the replacement of a class or function; imports nothing."""
        path = f"{module}.{name}"
        if path in _KNOWN:
            return _KNOWN[path]
        if module in ("torch", "torch.cuda", "torch.storage") and name in DTYPES:
            return _Kind(np.dtype(DTYPES[name]))
        if path not in self.unknown:
            self.unknown[path] = type("Unknown", (Unknown,), {"path": path})
        return self.unknown[path]

    def persistent_load(self, pid: Any) -> Any:
        """Returns a storage, or the class of a network; old files store such a class with its source."""
        if not isinstance(pid, tuple) or len(pid) < 2:
            raise pickle.UnpicklingError("it has an invalid reference to an object outside the pickle")
        kind, what, *more = pid
        if kind != "storage" or not isinstance(what, _Kind):
            return what if isinstance(what, type) else Unknown()
        key, _, size, *view = more
        if not isinstance(size, int) or size < 0 or any(view):
            raise pickle.UnpicklingError(f"its storage {key} has no valid size")
        return self.storages.setdefault(str(key), Storage(str(key), what.dtype, size))


def _tensor(storage: Any, offset: int, shape: Sequence[int], strides: Sequence[int], *more: Any) -> Any:
    """Replaces ``torch._utils._rebuild_tensor`` and ``_rebuild_tensor_v2``; ``more[2]`` is metadata."""
    metadata = more[2:3]
    if not isinstance(storage, Storage) or any(metadata):
        return Unknown()
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor has an invalid shape")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.size:
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _first(value: Any, *_: Any) -> Any:
    """Replaces ``torch._utils._rebuild_parameter``; returns the tensor alone."""
    return value


def _of_type(function: Any, _: Any, arguments: tuple, *__: Any) -> Any:
    """Replaces ``torch._tensor._rebuild_from_type_v2``, which adds attributes to a tensor."""
    return function(*arguments)


def _encode(text: str, *_: Any) -> bytes:
    """Replaces ``_codecs.encode``, which protocol 2 uses for bytes."""
    return text.encode("latin1")


def _scalar(dtype: NumpyType, data: bytes | str) -> Any:
    """Replaces ``numpy.core.multiarray.scalar``; returns a Python number."""
    return dtype.numbers(data)[0].item()


_FUNCTIONS: dict[str, Callable] = {
    "collections.OrderedDict": Dict,
    "collections.defaultdict": Dict,
    "_codecs.encode": _encode,
    "numpy.dtype": NumpyType,
    "torch.Size": tuple,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": NumpyArray for core in ("core", "_core")},
}
_KNOWN = {path: _Call(function) for path, function in _FUNCTIONS.items()}
