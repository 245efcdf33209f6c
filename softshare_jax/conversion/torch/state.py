"""Finds the weights in a PyTorch checkpoint, under the names that the network itself uses."""

import itertools
import math
import pathlib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from softshare_jax.conversion.torch import file as torch_file
from softshare_jax.conversion.torch.values import NumpyArray, Tensor, Unknown
from softshare_jax.errors import UserError, one_line

Arrays = dict[str, np.ndarray]
Entry = Tensor | NumpyArray
# Keys under which training scripts save the weights, and the number of levels to search.
STATES, MOST_LEVELS = ("state_dict", "model_state_dict", "model", "net", "network"), 3
# Prefixes that data parallelism and torch.compile add to the names of weights.
WRAPPERS = ("module", "_orig_mod")


class _Refused(Exception):
    """The checkpoint is readable, but its content is not supported."""


class TorchCheckpoint(NamedTuple):
    """The content of a checkpoint.

    Attributes:
        arrays: parameters and statistics by name, each once.
        epoch: epoch after which the checkpoint was saved, or ``None`` if it has none.
        passed_over: names of the authors' own classes, whose objects were skipped.
    """

    arrays: Arrays
    epoch: int | None
    passed_over: tuple[str, ...]


def read(file: pathlib.Path) -> TorchCheckpoint:
    """Reads a checkpoint without PyTorch and without executing its code.

    Raises:
        UserError: the file is missing or damaged, or its weights are missing or not supported.
    """
    if not file.is_file():
        raise UserError(f"--torch {file} {'is not a file' if file.exists() else 'does not exist'}")
    try:
        content = torch_file.TorchFile(file)
    except OSError as error:
        raise UserError(f"--torch {file} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # the exceptions for foreign files are not documented
        raise UserError(f"--torch {file} is not a torch.save file ({one_line(error)})") from error
    try:
        state, epoch = _find(content.value)
        entries = _entries(state)
        # A bank has many names, but one tensor; count and read its numbers once.
        names = {entry: name for name, entry in entries.items()}
        if sum(entry.nbytes for entry in names) > content.size:
            raise _Refused("its tensors are larger than the file")
        floats = {entry: _floats(name, content.array(entry)) for entry, name in names.items()}
        arrays = _without_banks({name: floats[entry] for name, entry in entries.items()})
        return TorchCheckpoint(arrays, _epoch(epoch, content), _own_classes(content.unknown))
    except _Refused as error:
        raise UserError(f"--torch {file}: {one_line(error, 400)}") from error
    except Exception as error:  # the exceptions for damaged files are not documented
        raise UserError(f"--torch {file} is damaged ({one_line(error)})") from error


def _find(value: Any) -> tuple[dict, Any]:
    """Returns the nested dictionary of weights, and the epoch found on the way."""
    epoch = None
    for _ in range(MOST_LEVELS):
        if not isinstance(value, dict):
            break
        epoch = value.get("epoch", epoch)
        inner = next((value[key] for key in STATES if isinstance(value.get(key), dict)), None)
        if inner is None:
            if any(isinstance(entry, Entry) for entry in value.values()):
                return value, epoch
            break
        value = inner
    raise _Refused(
        f"expected a dictionary of weights, found {_described(value)}; save the state_dict of the model"
    )


def _described(value: Any) -> str:
    """Describes a value in a few words."""
    if isinstance(value, Unknown):
        return f"an object of {value.path}"
    if isinstance(value, Entry):
        return "a tensor"
    if not isinstance(value, dict):
        return f"a value of type {type(value).__name__}"
    entries = (
        f"{key!r} ({entry.path})" if isinstance(entry, Unknown) else repr(key) for key, entry in value.items()
    )
    return f"a dictionary of {', '.join(itertools.islice(entries, 8)) or 'nothing'}"


def _entries(state: dict) -> dict[str, Entry]:
    """Returns the parameters and statistics under the names that the network itself uses."""
    entries: dict[str, Entry] = {}
    for given, entry in state.items():
        if not isinstance(given, str):
            raise _Refused(f"it names a weight {given!r}; names must be strings")
        name = ".".join(part for part in given.split(".") if part not in WRAPPERS)
        if name.endswith("num_batches_tracked"):
            continue
        if not isinstance(entry, Entry):
            raise _Refused(f"it has {_described(entry)} for {name}; weights must be dense tensors")
        if name in entries:
            raise _Refused(f"it has {name} twice, with different prefixes such as module.")
        entries[name] = entry
    return entries


def _floats(name: str, array: np.ndarray) -> np.ndarray:
    """Returns weights in float32."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise _Refused(f"it has {name} in {array.dtype}; weights must be floating-point numbers")
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32, copy=False)
    if not np.isfinite(floats).all():
        raise _Refused(f"it has values in {name} that are not finite in float32")
    return floats


def _without_banks(arrays: Arrays) -> Arrays:
    """Drops the copies of banks under the layers that use them; checks that they are equal."""
    kept = {name: array for name, array in arrays.items() if ".bank." not in name}
    for name in arrays.keys() - kept.keys():
        bank = re.sub(r"^stage_(\d+)\..*\.bank\.", r"bank_\1.", name)
        if bank in kept and not np.array_equal(arrays[name], kept[bank]):
            raise _Refused(f"it has different values for {name} and {bank}, which are the same bank")
    return kept


def _epoch(value: Any, content: torch_file.TorchFile) -> int | None:
    """Returns the epoch as an integer; it may be saved as a number, an array or a tensor."""
    if value is None:
        return None
    if isinstance(value, Entry) and math.prod(value.shape) == 1:
        value = content.array(value).item()
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == value // 1:
        return int(value)
    said = repr(value) if isinstance(value, int | float | str) else _described(value)
    raise _Refused(f"it has {said} for its epoch; it must be an integer of at least 0")


def _own_classes(unknown: Iterable[str]) -> tuple[str, ...]:
    """Returns the names that do not belong to known libraries."""
    libraries = ("torch", "numpy", "builtins", "__builtin__", "collections")
    return tuple(name for name in unknown if name.partition(".")[0] not in libraries)
