"""The origin of a workdir's network: the certificate of a fold, or the conversion of another run.

Each is a JSON file. ``to_json`` returns its content as plain values, and ``from_json`` reads it back.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Self

from softshare_jax.errors import UserError

# Files of earlier versions state no format. They have the same fields.
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Counts:
    """A number before and after a change."""

    before: int
    after: int

    def __post_init__(self):
        if self.before < 1 or self.after < 0:
            raise ValueError(f"a change from {self.before} to {self.after} is impossible")

    @property
    def kept(self) -> float:
        """``after`` as a fraction of ``before``."""
        return self.after / self.before


@dataclasses.dataclass(frozen=True)
class Metric:
    """The score of a network before and after a change.

    Attributes:
        name: name of the score, such as ``'accuracy'``.
        measured_on: description of the examples.
        before, after: the score, from 0 to 1.
    """

    name: str
    measured_on: str
    before: float
    after: float

    @property
    def drop(self) -> float:
        """How far the score fell; negative if it rose."""
        return self.before - self.after


@dataclasses.dataclass(frozen=True)
class Difference:
    """The effect of a change to a trained network.

    Attributes:
        parameters: number of parameters that the network stores.
        metric: score of the network.
        max_logit_difference: the largest absolute difference of a logit.
        checksum: checksum of the variables after the change.
    """

    parameters: Counts
    metric: Metric
    max_logit_difference: float
    checksum: str = ""


@dataclasses.dataclass(frozen=True)
class _Artifact:
    """A file about a change to a network. The JSON has the fields of ``difference`` at the top level.

    Attributes:
        source: workdir of the run that was changed.
        step: step of its checkpoint.
        difference: effect of the change, before any further training.
        batch_norm_batches: batches over which batch-norm was re-estimated; 0 if it was kept.
    """

    step: int
    difference: Difference
    _: dataclasses.KW_ONLY
    source: str = ""
    batch_norm_batches: int = 0

    def to_json(self) -> dict[str, Any]:
        """Returns plain values; derived ones are for other readers of the file."""
        values = {"format": FORMAT, **dataclasses.asdict(self)}
        values |= values.pop("difference")
        values["parameters"]["kept"] = self.difference.parameters.kept
        values["metric"]["drop"] = self.difference.metric.drop
        return values

    @classmethod
    def from_json(cls, values: Any, file: str) -> Self:
        """Reads the content of a file; unknown fields are ignored.

        Args:
            values: plain values, without seal and versions.
            file: name of the file, for messages.

        Raises:
            UserError: the content is not of this kind, or has a newer format.
        """
        what = cls.__name__.lower()
        try:
            if not isinstance(values, Mapping):
                raise ValueError("it is not a JSON object")
            written = _decode(int, values.get("format", FORMAT), "format")
            if written <= FORMAT:
                return _decode(cls, {**values, "difference": values}, what)
        except ValueError as error:
            raise UserError(f"{file} is not a {what}: {error}") from error
        raise UserError(f"{file} has format {written}; this version reads formats up to {FORMAT}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate(_Artifact):
    """The result of a fold.

    Attributes:
        model: name of the network.
        measure, threshold: layers were merged if their similarity in this measure reached the threshold.
        shared_layers: number of layers in all groups.
        distinct_layers: number of distinct weights among them.
        loops: loops of each group, such as ``'1 (2)×3'``.
        layers: for each layer of each group the first layer with the same weight, from 0; empty in files of
            earlier versions.
    """

    measure: str
    threshold: float
    shared_layers: int
    distinct_layers: Counts
    model: str = ""
    loops: Mapping[str, str] = dataclasses.field(default_factory=dict)
    layers: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns plain values; derived ones are for other readers of the file."""
        values = super().to_json()
        return values if self.layers else {name: value for name, value in values.items() if name != "layers"}


@dataclasses.dataclass(frozen=True)
class Models:
    """The names of a network before and after a change."""

    before: str
    after: str


@dataclasses.dataclass(frozen=True)
class Resized:
    """A group whose number of templates was changed.

    Attributes:
        name: name of the group.
        templates: its new number of templates, 1 to L.
        relative_error: error of its weights with 1 to L templates, as a fraction of their norm.
        fitted_error: error of the new weights, if they have residuals or were fitted to inputs.
    """

    name: str
    templates: int
    relative_error: tuple[float, ...]
    fitted_error: float | None = None

    def __post_init__(self):
        if not 1 <= self.templates <= self.layers:
            raise ValueError(f"group {self.name!r} has {self.layers} layers and {self.templates} templates")

    @property
    def layers(self) -> int:
        """L, the number of layers."""
        return len(self.relative_error)

    def to_json(self) -> dict[str, Any]:
        """Returns plain values; derived ones are for other readers of the file."""
        values = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return {**values, "layers": self.layers}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conversion(_Artifact):
    """The result of a change to the numbers of templates.

    Attributes:
        model: names of the networks.
        groups: the groups, in the order of the plan.
    """

    model: Models
    groups: tuple[Resized, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values; derived ones are for other readers of the file."""
        return {**super().to_json(), "groups": [group.to_json() for group in self.groups]}


def _decode(kind: Any, value: Any, name: str) -> Any:
    """Converts a JSON value to a type made of dataclasses, tuples, mappings, strings and numbers.

    Raises:
        ValueError: it does not fit; the message is one line.
    """
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        hints = typing.get_type_hints(kind)
        fields = {field.name: field for field in dataclasses.fields(kind)}
        for field in fields.values():
            if field.name not in value and field.default is field.default_factory is dataclasses.MISSING:
                raise ValueError(f"{field.name} is missing in its {name}")
        build: Any = kind
        return build(**{key: _decode(hints[key], value[key], key) for key in fields if key in value})
    if origin is types.UnionType:  # with None, which no file has
        return _decode(arguments[0], value, name)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_decode(arguments[0], item, name) for item in value)
    if origin is Mapping and isinstance(value, Mapping):
        return {key: _decode(arguments[1], item, name) for key, item in value.items()}
    # An integer of hundreds of digits does not fit into a float.
    if kind is float and type(value) in (int, float) and abs(value) < 1e300:
        return float(value)
    if kind in (int, str) and type(value) is kind and (kind is str or abs(value) < 2**63):
        return value
    raise ValueError(f"its {name} has the wrong type")
