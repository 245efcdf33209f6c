"""The documentation of every config field, for ``--help`` and for the docs."""

import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from softshare_jax.config.data_sets import DATA
from softshare_jax.config.field import specs
from softshare_jax.config.schema import Config


class Entry(NamedTuple):
    """The documentation of a field.

    Attributes:
        name: full name, such as ``'data.cutout'``.
        default: its Python literal.
        doc: its meaning and the allowed values.
        data: names of the data sets that have the field; empty for all.
    """

    name: str
    default: str
    doc: str
    data: tuple[str, ...]


def entries() -> Iterator[Entry]:
    """Yields every field of every data set once, in the order of the config."""
    data_sets = {cls: tuple(name for name, one in DATA.items() if one is cls) for cls in DATA.values()}
    for cls, names in data_sets.items():
        first = cls is next(iter(data_sets))
        for name, field, spec in specs(Config(data=cls())):
            of_data = name.startswith("data.")
            if first or of_data:
                allowed = f" Allowed: {spec.requirement()}." if spec.requirement() else ""
                yield Entry(name, repr(field.default), spec.doc + allowed, names if of_data else ())


def as_text() -> str:
    """Returns the fields as flags, for a terminal."""
    lines = []
    for entry in entries():
        where = f" [{', '.join(entry.data)}]" if entry.data else ""
        lines.append(f"  --config.{entry.name}={entry.default}{where}")
        lines += textwrap.wrap(entry.doc, 96, initial_indent="      ", subsequent_indent="      ")
    return "Config fields and their defaults; a config file overrides some of them.\n\n" + "\n".join(lines)


def as_markdown() -> str:
    """Returns the fields as a table."""
    lines = ["| field | default | meaning |", "| --- | --- | --- |"]
    for entry in entries():
        where = f" *({', '.join(entry.data)})*" if entry.data else ""
        lines.append(f"| `{entry.name}`{where} | `{entry.default}` | {entry.doc} |")
    return "\n".join(lines) + "\n"
