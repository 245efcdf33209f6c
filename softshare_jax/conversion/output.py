"""Folders that commands make from other runs or weights."""

import contextlib
import errno
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import jax

from softshare_jax import durable
from softshare_jax.errors import RunError, UserError, cannot_write
from softshare_jax.runs.workdir import Workdir
from softshare_jax.shell import ending
from softshare_jax.storage.checkpoints import Checkpoints
from softshare_jax.training.experiment import Experiment
from softshare_jax.training.finite import first_not_finite
from softshare_jax.training.stages import Stages


def check_unused(root: pathlib.Path) -> None:
    """Makes sure that a folder can be made there.

    Raises:
        UserError: there is something in the way.
    """
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise UserError(f"--output {root} is in use: name a new folder")


@contextlib.contextmanager
def new_folder(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a folder to fill, which becomes ``root`` when all is well and vanishes otherwise.

    The folder lies beside ``root`` under a name of its own, so commands with one output do not disturb each
    other. The first one to finish has the output, and the others fail.

    Args:
        root: must not exist, or be an empty folder.

    Raises:
        UserError: it is in use, at the start or at the end, or cannot be written.
        RunError: there is no space for it.
    """
    check_unused(root)
    target = pathlib.Path(os.path.realpath(root))  # only a folder itself can be replaced, not a link to it
    unfinished = durable.partial(target)
    try:
        durable.make_folder(target.parent)
        unfinished.mkdir()
    except OSError as error:
        raise cannot_write(f"--output {root}", error) from error
    try:
        with ending.unfinished(unfinished):
            yield unfinished
            durable.fsync_tree(unfinished)
            _publish(unfinished, target, root)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _publish(unfinished: pathlib.Path, target: pathlib.Path, root: pathlib.Path) -> None:
    """Gives a folder the name of the output, which the system refuses over anything but an empty folder."""
    try:
        durable.rename(unfinished, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise UserError(
                f"--output {root} was made by another command meanwhile: name a new folder"
            ) from error
        raise cannot_write(f"--output {root}", error) from error


@contextlib.contextmanager
def new_workdir(output: Workdir) -> Iterator[Workdir]:
    """Yields a workdir to fill, which becomes the output as by ``new_folder``.

    Raises:
        UserError: it is in use or cannot be written.
    """
    with new_folder(output.root) as folder:
        yield Workdir(folder)


def write_run(workdir: Workdir, experiment: Experiment, step: int, variables: dict[str, Any]) -> None:
    """Writes a run that stands at a step: config, plan and a checkpoint whose optimiser has seen nothing.

    Raises:
        RunError: the variables are not finite.
    """
    if leaf := first_not_finite(variables):
        raise RunError(f"the weights to write are not finite ({leaf}): nothing is written")
    workdir.write_run(experiment.config, experiment.plan)
    with contextlib.closing(Checkpoints(workdir.checkpoints, Stages(experiment))) as checkpoints:
        checkpoints.save(experiment.fresh_state(step, variables), None)


def check_shapes(variables: dict[str, Any], shapes: dict[str, Any], source: str) -> None:
    """Compares every array with what a network has in its place.

    Args:
        variables: collections of arrays.
        shapes: of the network's variables; collections that the others lack are not looked at.
        source: of the arrays, for the message.

    Raises:
        UserError: one is missing, is too many or has another shape.
    """
    found = dict(jax.tree_util.tree_flatten_with_path(variables)[0])
    expected = dict(jax.tree_util.tree_flatten_with_path({n: shapes[n] for n in variables})[0])
    for path in dict.fromkeys([*found, *expected]):
        sides = [tuple(side[path].shape) if path in side else "nothing" for side in (found, expected)]
        if sides[0] != sides[1]:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise UserError(f"{source} has {sides[0]} for {name}, the network {sides[1]}")
