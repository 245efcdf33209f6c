"""Reads a step of a run, and tells why it cannot be read."""

import pathlib
from collections.abc import Mapping
from typing import Any

from softshare_jax.config import Config
from softshare_jax.errors import RunError, UserError
from softshare_jax.sharing import Plan
from softshare_jax.storage import array_store
from softshare_jax.storage import seal as seal_lib
from softshare_jax.storage.damage import Damaged, first_line, of_the_machine
from softshare_jax.storage.seal import Seal
from softshare_jax.training.checksum import checksum, named_leaves


def read(
    folder: pathlib.Path, config: Config, plan: Plan, shapes: Mapping[str, Any]
) -> tuple[Seal, dict[str, Any]]:
    """Reads items of a step.

    Args:
        folder: of the step.
        config, plan: of the run that it must belong to.
        shapes: structure, shapes, dtypes and shardings of each item, such as ``variables``.

    Returns:
        ``(seal, items)``.

    Raises:
        Damaged: its format or a checksum is wrong.
        UserError: it is of another step, config or plan.
        RunError: it cannot be read for another reason.
    """
    try:
        seal = seal_lib.read(folder)
        seal.check_run(folder, config, plan)
        return seal, {item: _read_item(folder, seal, item, tree) for item, tree in shapes.items()}
    except OSError as error:
        raise _unreadable(folder, error) from error


def _read_item(folder: pathlib.Path, seal: Seal, item: str, shapes: Any) -> Any:
    try:
        tree = array_store.read(folder, item, shapes)
        found = checksum(tree)
    except Exception as error:  # what damage raises is not documented
        raise _verdict(folder, seal, item, shapes, error) from error
    if found != seal.arrays[item]:
        raise Damaged(f"the checksum of its {item} is wrong")
    return tree


def _verdict(folder: pathlib.Path, seal: Seal, item: str, shapes: Any, error: Exception) -> Exception:
    """Returns ``Damaged`` where damage can be shown, and another error where it cannot.

    Raises:
        OSError: the files cannot be compared with the seal.
    """
    if seal.files:
        if wrong := seal.wrong_file(folder):
            return Damaged(wrong)
        if (difference := _other_shape(folder, item, shapes)) and not of_the_machine(error):
            version = seal.versions.get("softshare_jax", "of an earlier version")
            what = f"was written by softshare_jax {version} for a network with other parameters"
            return UserError(f"checkpoint {folder} {what}: {difference}")
        return _unreadable(folder, error)
    # Seals of earlier versions do not list the files.
    if of_the_machine(error):
        return _unreadable(folder, error)
    if difference := _other_shape(folder, item, shapes):
        return UserError(f"checkpoint {folder} is of another config or plan: {difference}")
    return Damaged(first_line(error))


def _unreadable(folder: pathlib.Path, error: Exception) -> RunError:
    return RunError(
        f"checkpoint {folder} cannot be read, and nothing shows that it is damaged ({first_line(error)}): "
        "try again, or move it away to go on from the one before"
    )


def _other_shape(folder: pathlib.Path, item: str, shapes: Any) -> str | None:
    """Returns the first array of an item that has another shape on disk, or is missing on one side."""
    try:
        stored = array_store.stored_shapes(folder, item)
    except Exception:  # the description of the arrays may be what is damaged
        return None
    wanted = {name: tuple(leaf.shape) for name, leaf in named_leaves(shapes)}
    for name in dict.fromkeys([*stored, *wanted]):
        there, here = stored.get(name, "missing"), wanted.get(name, "missing")
        if there != here:
            return f"{name} is {there} there and {here} here"
    return None
