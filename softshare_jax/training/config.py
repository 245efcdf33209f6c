"""The config: its fields and their types, and what is wrong with one, in one line."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from softshare_jax import sharing
from softshare_jax.errors import UserError

# A resumed run may change these: they say how long it runs and what it writes, not what it computes.
CHANGEABLE = (
    "duration",
    "log_every",
    "evaluate_every",
    "checkpoint_every",
    "keep_checkpoints",
    "steps_per_dispatch",
    "profile_steps",
)


@dataclasses.dataclass(frozen=True)
class Sharing:
    """How layers share. What each field means stands in configs/shortest_paths.py."""

    coefficients: str
    recurrence: float


@dataclasses.dataclass(frozen=True)
class ShortestPaths:
    """The data of the shortest-paths task."""

    name: str
    side: int
    density: float
    windows: tuple[int, ...]
    phase: str
    train_examples: int
    test_examples: int


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """How weights are updated."""

    name: str
    learning_rate: float
    schedule: str
    weight_decay: float


@dataclasses.dataclass(frozen=True)
class Config:
    """A complete, validated config. ``to_dict`` and ``from_dict`` are inverse to each other."""

    seed: int
    model: str
    dtype: str
    sharing: Sharing
    data: ShortestPaths
    optimizer: Optimizer
    batch_size: int
    duration: str
    log_every: str
    evaluate_every: str
    checkpoint_every: str
    keep_checkpoints: int
    steps_per_dispatch: int
    profile_steps: int

    def to_dict(self) -> dict[str, Any]:
        """Returns nested plain values, as ``config.json`` holds them."""
        return dataclasses.asdict(self)


def from_dict(values: Mapping[str, Any]) -> Config:
    """Builds a config from nested plain values.

    Raises:
        UserError: a field is unknown, missing, of the wrong type or out of range.
    """
    config = _build(Config, values, "")
    _check_ranges(config)
    return config


def first_difference(old: Config, new: Config) -> str | None:
    """Returns the first field in which a run cannot be resumed, with both values, or ``None``."""
    before, after = _flatten(old.to_dict()), _flatten(new.to_dict())
    for field in dict.fromkeys([*before, *after]):
        if field not in CHANGEABLE and before.get(field) != after.get(field):
            return f"{field} is {before.get(field)!r} there and {after.get(field)!r} here"
    return None


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _build(cls: type, values: Any, prefix: str):
    """Builds a dataclass field by field; ``prefix`` is its place in the config, for messages."""
    if not isinstance(values, Mapping):
        raise UserError(f"config.{prefix[:-1]} holds fields of its own, it is not {values!r}")
    expected = typing.get_type_hints(cls)
    for name in values:
        if name not in expected:
            fields = ", ".join(expected)
            raise UserError(f"config.{prefix}{name} is not a field; the fields there are {fields}")
    for name in expected:
        if name not in values:
            raise UserError(f"config.{prefix}{name} is missing")
    return cls(**{name: _convert(kind, values[name], prefix + name) for name, kind in expected.items()})


def _convert(kind: Any, value: Any, field: str):
    if dataclasses.is_dataclass(kind):
        return _build(typing.cast(type, kind), value, field + ".")
    if isinstance(kind, types.GenericAlias):
        if isinstance(value, (tuple, list)):
            return tuple(_convert(typing.get_args(kind)[0], item, field) for item in value)
        raise UserError(f"config.{field} is a tuple, not {value!r}")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise UserError(f"config.{field} is of type {kind.__name__}, not {value!r}")
    return value


def _check_ranges(config: Config) -> None:
    data = config.data
    for wrong, message in [
        (config.dtype not in ("float32", "bfloat16"), "dtype is 'float32' or 'bfloat16'"),
        (
            config.sharing.coefficients not in sharing.INITIALIZERS,
            f"sharing.coefficients is one of {', '.join(sharing.INITIALIZERS)}",
        ),
        (config.sharing.recurrence < 0, "sharing.recurrence is 0 or more"),
        (
            config.optimizer.name not in ("sgd", "adam", "adamw"),
            "optimizer.name is 'sgd', 'adam' or 'adamw'",
        ),
        (not config.optimizer.learning_rate > 0, "optimizer.learning_rate is above 0"),
        (
            config.optimizer.schedule not in ("constant", "cosine"),
            "optimizer.schedule is 'constant' or 'cosine'",
        ),
        (config.optimizer.weight_decay < 0, "optimizer.weight_decay is 0 or more"),
        (data.name != "shortest_paths", "data.name is 'shortest_paths'"),
        (data.side < 3, "data.side is 3 or more"),
        (not 0 <= data.density < 1, "data.density is a probability from 0 to below 1"),
        (
            not data.windows or any(w < 3 or w % 2 == 0 for w in data.windows),
            "data.windows has an odd number of 3 or more for each phase",
        ),
        (data.test_examples < 1, "data.test_examples is 1 or more"),
        (config.batch_size < 1, "batch_size is 1 or more"),
        (data.train_examples < config.batch_size, "data.train_examples is at least batch_size"),
        (config.keep_checkpoints < 1, "keep_checkpoints is 1 or more"),
        (config.steps_per_dispatch < 0, "steps_per_dispatch is 0 or more"),
        (config.profile_steps < 0, "profile_steps is 0 or more"),
    ]:
        if wrong:
            raise UserError(f"config.{message}")
