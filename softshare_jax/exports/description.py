"""``export.json``: what an export has, with the checksums of its files."""

import hashlib
import os
import pathlib
from typing import Any

from softshare_jax import json_text, paths
from softshare_jax.errors import UserError

FORMAT = "softshare_jax export 1"
DESCRIPTION = "export.json"


def describe(folder: str | os.PathLike) -> dict[str, Any]:
    """Returns the content of ``export.json``: model, step, input, output, loops, files and others.

    Raises:
        UserError: the folder has no export that this version can read.
    """
    file = paths.local(folder) / DESCRIPTION
    try:
        description = json_text.parse(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): name the folder of an export") from error
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise UserError(f"{file} does not describe an export that this version can read ({FORMAT!r})")
    return description


def sha256(file: pathlib.Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify(file: pathlib.Path, description: dict[str, Any]) -> None:
    """Compares a file of an export with its checksum.

    Raises:
        UserError: the file is missing, damaged or not in the description.
    """
    try:
        expected = description["files"][file.name]["sha256"]
    except (KeyError, TypeError):
        raise UserError(f"{file.parent / DESCRIPTION} does not list {file.name}") from None
    try:
        found = sha256(file)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    if found != expected:
        raise UserError(f"{file} is damaged (wrong checksum): copy or export it again")
