"""Versions: what wrote a file, how an older file is read, and when a resumed run computes other bits."""

import platform
from collections.abc import Mapping
from typing import Any

import jax

import softshare_jax
from softshare_jax.config.renamed import RENAMED
from softshare_jax.errors import UserError

VERSION = "version"


def stamp() -> dict[str, Any]:
    """Returns the schema of the files written here, and the versions of this package, jax and Python."""
    return {
        "schema": len(RENAMED),
        "softshare_jax": softshare_jax.__version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
    }


def stamped(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of a file together with the stamp."""
    return {VERSION: stamp(), **values}


def migrate(values: Any, source: str) -> Any:
    """Returns the content of a file of any schema in the present schema, without its stamp.

    Args:
        values: as read from the file; anything but an object is returned unchanged.
        source: of the values, for the message.

    Raises:
        UserError: the file is of a schema that this version does not know.
    """
    if not isinstance(values, Mapping):
        return values
    values = dict(values)
    version = values.pop(VERSION, {"schema": 0})
    schema = version.get("schema") if isinstance(version, Mapping) else None
    if type(schema) is not int or schema < 0:
        raise UserError(f"{source}: its schema is not a number of 0 or more: {version!r}")
    if schema > len(RENAMED):
        raise UserError(
            f"{source} has schema {schema}, written by softshare_jax {version.get('softshare_jax')}; "
            f"softshare_jax {softshare_jax.__version__} reads up to {len(RENAMED)}: install that version"
        )
    for names in RENAMED[schema:]:
        for old, new in names.items():
            _rename(values, old, new)
    return values


def change_of_bits(saved: Mapping[str, Any]) -> str | None:
    """Returns what a checkpoint was saved with, where a run that resumes from it computes other bits.

    Args:
        saved: the stamp of the checkpoint; empty for checkpoints of earlier versions.

    Returns:
        The end of a sentence about the checkpoint; ``None`` if jax and Python are the same or not known.
    """
    there = (saved.get("jax"), _minor(saved.get("python")))
    here = (jax.__version__, _minor(platform.python_version()))
    if None in there or there == here:
        return None
    return f"was saved with jax {there[0]} on Python {there[1]}, this is jax {here[0]} on Python {here[1]}"


def _minor(version: Any) -> str | None:
    return ".".join(version.split(".")[:2]) if isinstance(version, str) else None


def _rename(values: dict[str, Any], old: str, new: str) -> None:
    """Gives a field its new name within its section; both are written with dots. Sections are copied."""
    section, _, rest = old.partition(".")
    if rest:
        if isinstance(values.get(section), Mapping):
            values[section] = dict(values[section])
            _rename(values[section], rest, new.partition(".")[2])
    elif old in values:
        values[new] = values.pop(old)
