"""The weights in a PyTorch checkpoint, by the names that the network itself has for them."""

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
# What training scripts call the weights among other things, and how deep they are looked for.
STATES, MOST_LEVELS = ("state_dict", "model_state_dict", "model", "net", "network"), 3
# What data parallelism and torch.compile put into the names of weights.
WRAPPERS = ("module", "_orig_mod")


class _Refused(Exception):
    """A checkpoint is whole, and is not what is asked for."""


class TorchCheckpoint(NamedTuple):
    """What such a file holds.

    Attributes:
        arrays: parameters and statistics by name, each once.
        epoch: that it was saved after; ``None`` where it does not say.
        passed_over: names of classes of the authors' own, whose objects were not made.
    """

    arrays: Arrays
    epoch: int | None
    passed_over: tuple[str, ...]


def read(file: pathlib.Path) -> TorchCheckpoint:
    """Reads a checkpoint; nothing in it is executed, and PyTorch is not needed.

    Raises:
        UserError: the file is missing or damaged, or holds no weights, or weights that cannot be taken over.
    """
    if not file.is_file():
        raise UserError(f"--torch {file} {'is no file' if file.exists() else 'does not exist'}")
    try:
        content = torch_file.TorchFile(file)
    except OSError as error:
        raise UserError(f"--torch {file} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # what a foreign file raises is not documented
        raise UserError(f"--torch {file} is no file of torch.save ({one_line(error)})") from error
    try:
        state, epoch = _find(content.value)
        entries = _entries(state)
        # A bank stands there many times, and its numbers once.
        names = {entry: name for name, entry in entries.items()}
        if sum(entry.nbytes for entry in names) > content.size:
            raise _Refused("it holds tensors that are larger than the file")
        floats = {entry: _floats(name, content.array(entry)) for entry, name in names.items()}
        arrays = _without_banks({name: floats[entry] for name, entry in entries.items()})
        return TorchCheckpoint(arrays, _epoch(epoch, content), _own_classes(content.unknown))
    except _Refused as error:
        raise UserError(f"--torch {file}: {one_line(error, 400)}") from error
    except Exception as error:  # what damage raises is not documented
        raise UserError(f"--torch {file} is damaged ({one_line(error)})") from error


def _find(value: Any) -> tuple[dict, Any]:
    """Returns the weights by name, however deep they lie, and the epoch that is named on the way."""
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
        f"it holds no weights by name: it has {_described(value)}; save the state_dict of the model"
    )


def _described(value: Any) -> str:
    """Returns what something is, in a few words."""
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
    """Returns the parameters and statistics by the names that the network itself has for them."""
    entries: dict[str, Entry] = {}
    for given, entry in state.items():
        if not isinstance(given, str):
            raise _Refused(f"it has an entry {given!r} among its weights, and names of weights are texts")
        name = ".".join(part for part in given.split(".") if part not in WRAPPERS)
        if name.endswith("num_batches_tracked"):
            continue
        if not isinstance(entry, Entry):
            raise _Refused(f"it has {_described(entry)} for {name}, and weights are dense tensors")
        if name in entries:
            raise _Refused(f"it has {name} twice, but for wrappers such as module.")
        entries[name] = entry
    return entries


def _floats(name: str, array: np.ndarray) -> np.ndarray:
    """Returns weights in float32."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise _Refused(f"it has {name} in {array.dtype}, and weights are floating-point numbers")
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32, copy=False)
    if not np.isfinite(floats).all():
        raise _Refused(f"it has numbers in {name} that are not finite in float32")
    return floats


def _without_banks(arrays: Arrays) -> Arrays:
    """Drops the banks that stand under what refers to them, and are the same."""
    kept = {name: array for name, array in arrays.items() if ".bank." not in name}
    for name in arrays.keys() - kept.keys():
        bank = re.sub(r"^stage_(\d+)\..*\.bank\.", r"bank_\1.", name)
        if bank in kept and not np.array_equal(arrays[name], kept[bank]):
            raise _Refused(f"it has another {name} than {bank}, which are one")
    return kept


def _epoch(value: Any, content: torch_file.TorchFile) -> int | None:
    """Returns the number of an epoch, however it was saved."""
    if value is None:
        return None
    if isinstance(value, Entry) and math.prod(value.shape) == 1:
        value = content.array(value).item()
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == value // 1:
        return int(value)
    said = repr(value) if isinstance(value, int | float | str) else _described(value)
    raise _Refused(f"it has {said} for its epoch, which is a whole number of 0 or more")


def _own_classes(unknown: Iterable[str]) -> tuple[str, ...]:
    """Returns those names that are of somebody's own code."""
    libraries = ("torch", "numpy", "builtins", "__builtin__", "collections")
    return tuple(name for name in unknown if name.partition(".")[0] not in libraries)
