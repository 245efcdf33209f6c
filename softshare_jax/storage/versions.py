"""Versions that wrote a file, migration of older files, and whether a resumed run is bit-for-bit the same."""

import platform
from collections.abc import Mapping
from typing import Any

import jax

import softshare_jax
from softshare_jax.config.renamed import RENAMED
from softshare_jax.errors import UserError

VERSION = "version"
# In the stamp of a checkpoint: the implementation of convolutions that trained it.
CONVOLUTION = "convolution"


def stamp() -> dict[str, Any]:
    """Returns the current schema and the versions of this package, jax and Python."""
    return {
        "schema": len(RENAMED),
        "softshare_jax": softshare_jax.__version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
    }


def stamped(values: Mapping[str, Any], **more: str) -> dict[str, Any]:
    """Returns the content of a file with the stamp, to which it adds further entries."""
    return {VERSION: {**stamp(), **more}, **values}


def migrate(values: Any, source: str) -> Any:
    """Returns the content of a file of any schema in the current schema, without its stamp.

    Args:
        values: as read from the file; returned unchanged if it is not an object.
        source: name of the file, for messages.

    Raises:
        UserError: this version does not know the schema of the file.
    """
    if not isinstance(values, Mapping):
        return values
    values = dict(values)
    version = values.pop(VERSION, {"schema": 0})
    schema = version.get("schema") if isinstance(version, Mapping) else None
    if type(schema) is not int or schema < 0:
        raise UserError(f"{source} has version {version!r}; its schema must be an integer of at least 0")
    if schema > len(RENAMED):
        raise UserError(
            f"{source} has schema {schema}, written by softshare_jax {version.get('softshare_jax')}; "
            f"softshare_jax {softshare_jax.__version__} reads up to schema {len(RENAMED)}; update it"
        )
    for names in RENAMED[schema:]:
        for old, new in names.items():
            _rename(values, old, new)
    return values


def change_of_bits(saved: Mapping[str, Any], convolution: str) -> str | None:
    """Returns what changed if a run resumed from a checkpoint is not bit-for-bit the same.

    Args:
        saved: the stamp of the checkpoint; empty for checkpoints of earlier versions.
        convolution: implementation of convolutions in the resumed run.

    Returns:
        A predicate for a sentence about the checkpoint; ``None`` if jax, Python and the implementation are
        the same, or if jax and Python are unknown.
    """
    # Versions that stamped no implementation had another batch-norm too.
    there = (saved.get("jax"), _minor(saved.get("python")), saved.get(CONVOLUTION, "an earlier version"))
    here = (jax.__version__, _minor(platform.python_version()), convolution)
    if None in there or there == here:
        return None
    return f"was saved with {_described(*there)}, this is {_described(*here)}"


def _described(jax_version: Any, python: Any, convolution: str) -> str:
    return f"jax {jax_version} on Python {python} and convolutions of {convolution}"


def _minor(version: Any) -> str | None:
    return ".".join(version.split(".")[:2]) if isinstance(version, str) else None


def _rename(values: dict[str, Any], old: str, new: str) -> None:
    """Renames a field within its section; both names are full names. Sections are copied."""
    section, _, rest = old.partition(".")
    if rest:
        if isinstance(values.get(section), Mapping):
            values[section] = dict(values[section])
            _rename(values[section], rest, new.partition(".")[2])
    elif old in values:
        values[new] = values.pop(old)
