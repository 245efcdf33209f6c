"""Builds configs from plain values and reports each mistake in one line."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from softshare_jax.config.data_sets import DATA, Cifar, Data
from softshare_jax.config.renamed import new_name
from softshare_jax.config.schema import MAX_SEED, MAY_CHANGE, Config
from softshare_jax.errors import UserError, unknown


def from_dict(values: Mapping[str, Any]) -> Config:
    """Builds a config from nested plain values; missing fields get their defaults.

    Raises:
        UserError: a field is unknown, of the wrong type or out of bounds.
    """
    config = _build(Config, values, "")
    for mistake in config.mistakes():
        raise UserError(f"config.{mistake}")
    return config


def from_stored(values: Any) -> Config:
    """Builds the config of a run from the content of its ``config.json``.

    Raises:
        UserError: as for ``from_dict``.
    """
    if not isinstance(values, dict) or not {"seed", "model", "data"} <= values.keys():
        raise UserError("config.json is not the config of a run; it must have seed, model and data")
    if isinstance(values["seed"], int):
        # Version 0.1 accepted any seed and used its last 32 bits.
        values = {**values, "seed": values["seed"] % (MAX_SEED + 1)}
    return from_dict(values)


def defaults(data_set: Any) -> dict[str, Any]:
    """Returns all fields with their defaults for a data set; those of CIFAR-10 if its name is unknown."""
    known = isinstance(data_set, str) and data_set in DATA
    return Config(data=DATA[data_set](name=data_set) if known else Cifar()).to_dict()


def first_difference(old: Config, new: Config) -> str | None:
    """Returns the first changed field that prevents resuming, with both values, or ``None``."""
    before, after = old.flatten(), new.flatten()
    for name in dict.fromkeys([*before, *after]):
        if name not in MAY_CHANGE and before.get(name) != after.get(name):
            return f"{name} was {before.get(name)!r} and is now {after.get(name)!r}"
    return None


def _build(cls: type, values: Any, prefix: str) -> Any:
    """Builds a section; ``prefix`` is its full name, for messages."""
    if not isinstance(values, Mapping):
        raise UserError(f"config.{prefix[:-1]} is {values!r}; it must be a section with fields")
    expected = typing.get_type_hints(cls)
    for name in values:
        if name not in expected:
            if new := new_name(f"{prefix}{name}"):
                raise UserError(f"config.{prefix}{name} is now called config.{new}")
            raise UserError(
                unknown("config field", f"{prefix}{name}", [prefix + field for field in expected])
            )
    return cls(**{name: _convert(expected[name], value, prefix + name) for name, value in values.items()})


def _convert(kind: Any, value: Any, name: str) -> Any:
    if kind == Data:
        kind = _data_set(value, name)
    if dataclasses.is_dataclass(kind):
        return _build(typing.cast(type, kind), value, f"{name}.")
    if isinstance(kind, types.GenericAlias):
        if isinstance(value, (tuple, list)):
            return tuple(_convert(typing.get_args(kind)[0], item, name) for item in value)
        raise UserError(f"config.{name} is {value!r}; it must be a tuple")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"config.{name} is {value}; it must be a finite number")
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise UserError(f"config.{name} is {value!r}; it must be of type {kind.__name__}")
    return value


def _data_set(value: Any, name: str) -> type[Data]:
    """Returns the class of the data section, by the data set's name."""
    if not isinstance(value, Mapping):
        raise UserError(f"config.{name} is {value!r}; it must be a section with fields")
    if value.get("name") not in tuple(DATA):
        raise UserError(f"config.{name}.name is {value.get('name')!r}; it must be one of {', '.join(DATA)}")
    return DATA[value["name"]]
