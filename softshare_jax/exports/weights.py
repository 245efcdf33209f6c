"""Safetensors files: variables by name, in an export or on their own."""

import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401 (registers bfloat16 with numpy)
import numpy as np
from safetensors import SafetensorError, safe_open

from softshare_jax import paths
from softshare_jax.errors import UserError, one_line
from softshare_jax.exports.description import DESCRIPTION, describe, verify


class Weights(NamedTuple):
    """The content of a safetensors file.

    Attributes:
        variables: nested dictionaries of numpy arrays, such as ``variables["templates"]["stage_1"]``.
        metadata: texts ``model`` and, of a run, ``step``; in ``shared.safetensors`` also ``plan``, JSON for
            ``sharing.Plan.from_json``.
    """

    variables: dict[str, Any]
    metadata: dict[str, str]


def read(file: str | os.PathLike) -> Weights:
    """Reads a safetensors file of an export; checks its checksum if ``export.json`` is beside it.

    Raises:
        UserError: the file is missing or damaged.
    """
    arrays, metadata = read_arrays(file)
    return Weights(nested(arrays, path_of, file), metadata)


def name_of(path: Iterable[str]) -> str:
    """Returns the name of an array in a safetensors file: its keys, joined by slashes.

    Slashes and tildes of a key are escaped as in JSON Pointer (RFC 6901), so that ``path_of`` is the inverse.
    """
    return "/".join(key.replace("~", "~0").replace("/", "~1") for key in path)


def path_of(name: str) -> list[str]:
    """Returns the keys of a name that ``name_of`` made."""
    return [key.replace("~1", "/").replace("~0", "~") for key in name.split("/")]


def read_arrays(file: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the arrays of a safetensors file by name, and its metadata; checks it as ``read`` does.

    Raises:
        UserError: the file is missing or damaged, or numpy does not know a dtype.
    """
    file = paths.local(file)
    if file.is_dir():
        raise UserError(f"{file} is a folder: name a file")
    if (file.parent / DESCRIPTION).exists():
        verify(file, describe(file.parent))
    try:
        with safe_open(file, framework="numpy") as arrays:
            names = arrays.keys()
            return {name: _tensor(arrays, name, file) for name in names}, arrays.metadata() or {}
    except FileNotFoundError:
        raise UserError(f"{file} does not exist") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as safetensors: {one_line(error)}") from error


def nested(
    arrays: Mapping[str, np.ndarray], split: Callable[[str], list[str]], file: str | os.PathLike
) -> dict[str, Any]:
    """Returns arrays as nested dictionaries, given a function that splits their names into keys.

    Raises:
        UserError: a name in the file is the beginning of another one, or stands for the same place.
    """
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *parents, leaf = split(name)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                break
        if not isinstance(node, dict) or leaf in node:
            raise UserError(f"{file}: the name {name!r} conflicts with another name")
        node[leaf] = array
    return tree


def _tensor(arrays: Any, name: str, file: pathlib.Path) -> np.ndarray:
    try:
        return arrays.get_tensor(name)
    except Exception as error:  # the exceptions for dtypes unknown to numpy are not documented
        dtype = arrays.get_slice(name).get_dtype()
        raise UserError(f"{file}: {name!r} has dtype {dtype}, which numpy cannot read") from error
