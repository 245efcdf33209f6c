"""The config: its fields and their types, and what is wrong with one, in one line."""

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from softshare_jax import sharing
from softshare_jax.errors import UserError, unknown

# A resumed run may change these: they say how long it runs, where its data lie and what it writes,
# not what it computes.
CHANGEABLE = (
    "data_dir",
    "duration",
    "log_every",
    "evaluate_every",
    "checkpoint_every",
    "keep_checkpoints",
    "steps_per_dispatch",
    "profile_steps",
    "scan_blocks",
    "shard_state",
    "data.threads",
)
# Random keys are made of 32 bits.
SEEDS = 2**32
# Fields that are chosen from a list.
CHOICES: dict[str, tuple[str, ...]] = {
    "dtype": ("float32", "bfloat16"),
    "gradient_dtype": ("float32", "bfloat16"),
    "scan_blocks": ("auto", "yes", "no"),
    "sharing.coefficients": tuple(sharing.INITIALIZERS),
    "optimizer.name": ("sgd", "adam", "adamw"),
    "optimizer.schedule": ("constant", "cosine", "steps"),
}


@dataclasses.dataclass(frozen=True)
class Sharing:
    """How layers share. What each field means stands in configs/shortest_paths.py."""

    coefficients: str
    recurrence: float
    anneal: str = ""


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

    def mistakes(self) -> Iterator[str]:
        """Yields what is out of range."""
        if self.side < 3:
            yield "data.side is 3 or more"
        if not 0 <= self.density < 1:
            yield "data.density is a probability from 0 to below 1"
        if not self.windows or any(w < 3 or w % 2 == 0 for w in self.windows):
            yield "data.windows has an odd number of 3 or more for each phase"
        if self.test_examples < 1:
            yield "data.test_examples is 1 or more"


@dataclasses.dataclass(frozen=True)
class Cifar:
    """CIFAR-10 or CIFAR-100, how it is split and how images are augmented."""

    name: str
    train_examples: int
    validation_examples: int
    cutout: int
    label_smoothing: float

    def mistakes(self) -> Iterator[str]:
        """Yields what is out of range."""
        if self.validation_examples < 0:
            yield "data.validation_examples is 0 or more"
        if not 0 <= self.cutout <= 32:
            yield "data.cutout is the side of a hole in pixels, from 0 to 32"
        if not 0 <= self.label_smoothing < 1:
            yield "data.label_smoothing is from 0 to below 1"


@dataclasses.dataclass(frozen=True)
class ImageNet:
    """ImageNet, or images in the same layout, and how they are cut."""

    name: str
    classes: int
    train_examples: int
    image_size: int
    resize: int
    least_area: float
    label_smoothing: float
    threads: int

    def mistakes(self) -> Iterator[str]:
        """Yields what is out of range."""
        if self.classes < 2:
            yield "data.classes is 2 or more"
        if self.image_size < 32:
            yield "data.image_size is 32 pixels or more"
        if self.resize < self.image_size:
            yield "data.resize is at least data.image_size"
        if not 0 < self.least_area <= 1:
            yield "data.least_area is a share of the image, above 0 and up to 1"
        if not 0 <= self.label_smoothing < 1:
            yield "data.label_smoothing is from 0 to below 1"
        if self.threads < 0:
            yield "data.threads is 0 or more"


Data = ShortestPaths | Cifar | ImageNet
DATA: dict[str, type] = {
    "shortest_paths": ShortestPaths,
    "cifar10": Cifar,
    "cifar100": Cifar,
    "imagenet2012": ImageNet,
}


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """How weights are updated."""

    name: str
    learning_rate: float
    schedule: str
    milestones: tuple[float, ...]
    milestone_factor: float
    weight_decay: float
    average: float
    warmup: str = ""
    clip: float = 0.0


@dataclasses.dataclass(frozen=True)
class Config:
    """A complete, validated config. ``to_dict`` and ``from_dict`` are inverse to each other.

    The fields with a default are those that some tasks or networks have no use for.
    """

    seed: int
    model: str
    dtype: str
    sharing: Sharing
    data: Data
    optimizer: Optimizer
    batch_size: int
    duration: str
    log_every: str
    evaluate_every: str
    checkpoint_every: str
    keep_checkpoints: int
    steps_per_dispatch: int
    profile_steps: int
    data_dir: str = ""
    dropout: float = 0.0
    scan_blocks: str = "auto"
    gradient_dtype: str = "float32"
    shard_state: bool = False
    zero_residual: bool = False
    auxiliary: float = 0.0
    drop_path: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Returns nested plain values, as ``config.json`` holds them."""
        return dataclasses.asdict(self)

    def flatten(self) -> dict[str, Any]:
        """Returns all values by their full names, such as ``'data.cutout'``."""
        return _flatten(self.to_dict())


def from_dict(values: Mapping[str, Any]) -> Config:
    """Builds a config from nested plain values.

    Raises:
        UserError: a field is unknown, missing, of the wrong type or out of range.
    """
    config = _build(Config, values, "")
    for mistake in _mistakes(config):
        raise UserError(f"config.{mistake}")
    return config


def from_stored(values: Any) -> Config:
    """Builds the config of a run from what its ``config.json`` holds.

    Raises:
        UserError: as for ``from_dict``.
    """
    if isinstance(values, dict) and isinstance(values.get("seed"), int):
        # Earlier versions took any seed, of which all their random numbers were those of the last 32 bits.
        values = {**values, "seed": values["seed"] % SEEDS}
    return from_dict(values)


def first_difference(old: Config, new: Config) -> str | None:
    """Returns the first field in which a run cannot be resumed, with both values, or ``None``."""
    before, after = old.flatten(), new.flatten()
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
            raise UserError(unknown("config field", prefix + name, [prefix + field for field in expected]))
    for field in dataclasses.fields(cls):
        if field.name not in values and field.default is dataclasses.MISSING:
            raise UserError(f"config.{prefix}{field.name} is missing")
    return cls(**{name: _convert(expected[name], value, prefix + name) for name, value in values.items()})


def _convert(kind: Any, value: Any, field: str):
    if kind == Data:
        kind = _kind_of_data(value, field)
    if dataclasses.is_dataclass(kind):
        return _build(typing.cast(type, kind), value, field + ".")
    if isinstance(kind, types.GenericAlias):
        if isinstance(value, (tuple, list)):
            return tuple(_convert(typing.get_args(kind)[0], item, field) for item in value)
        raise UserError(f"config.{field} is a tuple, not {value!r}")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"config.{field} is a finite number, not {value}")
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise UserError(f"config.{field} is of type {kind.__name__}, not {value!r}")
    return value


def _kind_of_data(value: Any, field: str) -> type:
    """Returns the class of a data set's fields, by its name."""
    if not isinstance(value, Mapping):
        raise UserError(f"config.{field} holds fields of its own, it is not {value!r}")
    if value.get("name") not in tuple(DATA):
        raise UserError(f"config.{field}.name is one of {', '.join(DATA)}, not {value.get('name')!r}")
    return DATA[value["name"]]


def _mistakes(config: Config) -> Iterator[str]:
    """Yields what is out of range, and how it has to be."""
    flat = config.flatten()
    for field, names in CHOICES.items():
        if flat[field] not in names:
            yield f"{field} is one of {', '.join(names)}, not {flat[field]!r}"
    if not 0 <= config.seed < SEEDS:
        yield f"seed is from 0 to 2^32 - 1 = {SEEDS - 1}, not {config.seed}"
    if not 0 <= config.dropout < 1:
        yield "dropout is a rate from 0 to below 1"
    if config.auxiliary < 0:
        yield "auxiliary is a weight of 0 or more"
    if not 0 <= config.drop_path < 1:
        yield "drop_path is a probability from 0 to below 1"
    if config.sharing.recurrence < 0:
        yield "sharing.recurrence is 0 or more"
    yield from config.data.mistakes()
    optimizer = config.optimizer
    if not optimizer.learning_rate > 0:
        yield "optimizer.learning_rate is above 0"
    if bool(optimizer.milestones) != (optimizer.schedule == "steps"):
        yield "optimizer.milestones belong to the schedule 'steps', and are empty for the others"
    if any(not 0 < m < 1 for m in optimizer.milestones) or list(optimizer.milestones) != sorted(
        set(optimizer.milestones)
    ):
        yield "optimizer.milestones are fractions of the run between 0 and 1, in order"
    if not optimizer.milestone_factor > 0:
        yield "optimizer.milestone_factor is above 0"
    if optimizer.weight_decay < 0:
        yield "optimizer.weight_decay is 0 or more"
    if optimizer.clip < 0:
        yield "optimizer.clip is 0 (no clipping) or more"
    if not 0 <= optimizer.average < 1:
        yield "optimizer.average is from 0 (no average) to below 1"
    if config.batch_size < 1:
        yield "batch_size is 1 or more"
    if config.data.train_examples < config.batch_size:
        yield "data.train_examples is at least batch_size"
    if config.keep_checkpoints < 1:
        yield "keep_checkpoints is 1 or more"
    if config.steps_per_dispatch < 0:
        yield "steps_per_dispatch is 0 or more"
    if config.steps_per_dispatch > 1 and isinstance(config.data, ImageNet):
        yield "steps_per_dispatch is 0 or 1 where batches come from the host"
    if config.profile_steps < 0:
        yield "profile_steps is 0 or more"
