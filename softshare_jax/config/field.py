"""A config field: its default, documentation and bounds in one place."""

import dataclasses
from collections.abc import Iterator
from typing import Any

_KEY = "softshare_jax"


@dataclasses.dataclass(frozen=True)
class Spec:
    """What is known of a field beside its name, type and default.

    Attributes:
        doc: one or two sentences for people.
        least, above, most, below: bounds of a number, or of each number of a tuple. ``least`` and
            ``most`` are allowed values, ``above`` and ``below`` are not.
        choices: the allowed values; empty for any.
        may_change: whether a resumed run may change it. Such a field says how long a run lasts, where its
            data lie and what it writes, not what it computes.
    """

    doc: str
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    may_change: bool = False

    def allows(self, value: Any) -> bool:
        """Returns whether a value, or each item of a tuple, is within the bounds."""
        if isinstance(value, tuple):
            return all(map(self.allows, value))
        return (
            (not self.choices or value in self.choices)
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    def requirement(self) -> str:
        """Returns what is allowed, such as ``'at least 0 and below 1'``; empty where anything is."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        bounds = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        return " and ".join(f"{what} {bound}" for what, bound in bounds.items() if bound is not None)


def field(default: Any, doc: str, **spec: Any) -> Any:
    """Returns a dataclass field with a default, a doc and the other attributes of its ``Spec``."""
    return dataclasses.field(default=default, metadata={_KEY: Spec(doc, **spec)})


def specs(section: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field, Spec]]:
    """Yields full name, dataclass field and spec of every field of a section and of its sections.

    Args:
        section: an instance, whose values decide which class a section has.
        prefix: of the names.
    """
    for one in dataclasses.fields(section):
        value = getattr(section, one.name)
        if dataclasses.is_dataclass(value):
            yield from specs(value, f"{prefix}{one.name}.")
        else:
            yield prefix + one.name, one, one.metadata[_KEY]
