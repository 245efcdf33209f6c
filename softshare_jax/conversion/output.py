"""Output folders of commands, which appear complete or not at all."""

import contextlib
import errno
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import jax

from softshare_jax import durable
from softshare_jax.errors import DISK_FAULTS, RunError, UserError, cannot_write
from softshare_jax.runs.workdir import Workdir
from softshare_jax.shell import ending
from softshare_jax.storage.checkpoints import Checkpoints
from softshare_jax.training.experiment import Experiment
from softshare_jax.training.finite import first_not_finite
from softshare_jax.training.stages import Stages


def check_unused(root: pathlib.Path, named: str = "--output") -> None:
    """Checks that a path is free for an output folder; ``named`` is what errors call the folder.

    Raises:
        UserError: the path is in use.
    """
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise UserError(f"{named} {root} is in use: name a new folder")


@contextlib.contextmanager
def new_folder(root: pathlib.Path, named: str = "--output") -> Iterator[pathlib.Path]:
    """Yields a temporary folder, which is renamed to ``root`` after the block, or removed if the block fails.

    The folder is beside ``root`` and has a unique name, so commands with the same output do not disturb each
    other. The first one to finish gets the output, and the others fail.

    Args:
        root: path that does not exist, or an empty folder.
        named: what errors call the folder.

    Raises:
        UserError: ``root`` is in use, at the start or at the end, or cannot be written.
        RunError: the disk is full.
    """
    check_unused(root, named)
    target = pathlib.Path(os.path.realpath(root))  # a rename can replace a folder, but not a link to it
    unfinished = durable.partial(target)
    try:
        durable.make_folder(target.parent)
        unfinished.mkdir()
    except OSError as error:
        raise cannot_write(f"{named} {root}", error) from error
    try:
        with ending.unfinished(unfinished):
            try:
                yield unfinished
                durable.fsync_tree(unfinished)
            except OSError as error:
                if error.errno in DISK_FAULTS:
                    raise cannot_write(f"{named} {root}", error) from error
                raise
            _publish(unfinished, target, f"{named} {root}")
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _publish(unfinished: pathlib.Path, target: pathlib.Path, what: str) -> None:
    """Renames a folder to the output. The system refuses unless the output is missing or an empty folder."""
    try:
        durable.rename(unfinished, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise UserError(f"{what} was made by another command meanwhile: name a new folder") from error
        raise cannot_write(what, error) from error


@contextlib.contextmanager
def new_workdir(output: Workdir) -> Iterator[Workdir]:
    """Yields a temporary workdir, which becomes the output as in ``new_folder``.

    Raises:
        UserError: the output is in use or cannot be written.
    """
    with new_folder(output.root) as folder:
        yield Workdir(folder)


def write_run(workdir: Workdir, experiment: Experiment, step: int, variables: dict[str, Any]) -> None:
    """Writes a run at a given step: config, plan and a checkpoint with a fresh optimizer state.

    Raises:
        RunError: the variables are not finite.
    """
    if leaf := first_not_finite(variables):
        raise RunError(f"cannot write weights that are not finite ({leaf})")
    workdir.write_run(experiment.config, experiment.plan)
    with contextlib.closing(Checkpoints(workdir.checkpoints, Stages(experiment))) as checkpoints:
        checkpoints.save(experiment.fresh_state(step, variables), None)


def check_shapes(variables: dict[str, Any], shapes: dict[str, Any], source: str) -> None:
    """Checks that arrays have the names and shapes of a network's variables.

    Args:
        variables: collections of arrays.
        shapes: shapes of the network's variables; collections missing from ``variables`` are ignored.
        source: source of the arrays, for the error message.

    Raises:
        UserError: an array is missing, unexpected, or has the wrong shape.
    """
    found = dict(jax.tree_util.tree_flatten_with_path(variables)[0])
    expected = dict(jax.tree_util.tree_flatten_with_path({n: shapes[n] for n in variables})[0])
    for path in dict.fromkeys([*found, *expected]):
        sides = [tuple(side[path].shape) if path in side else "nothing" for side in (found, expected)]
        if sides[0] != sides[1]:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise UserError(f"{source} has {sides[0]} for {name}; the network has {sides[1]}")
