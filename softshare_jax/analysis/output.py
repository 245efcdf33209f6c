"""Workdirs that commands make from other runs or weights."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

from softshare_jax.errors import UserError
from softshare_jax.training.checkpoints import Checkpoints
from softshare_jax.training.experiment import Experiment
from softshare_jax.training.workdir import Workdir


def check_unused(output: Workdir) -> None:
    """Makes sure that a workdir can be made there.

    Raises:
        UserError: there is something in the way.
    """
    root = output.root
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise UserError(f"--output {root} is in use: name a new folder")


@contextlib.contextmanager
def new_workdir(output: Workdir) -> Iterator[Workdir]:
    """Yields a workdir to fill, which becomes the output when all is well and vanishes otherwise.

    Args:
        output: must not exist, or be an empty folder.

    Raises:
        UserError: it is in use or cannot be written.
    """
    check_unused(output)
    partial = Workdir(output.root.with_name(output.root.name + ".partial"))
    shutil.rmtree(partial.root, ignore_errors=True)
    partial.create()
    try:
        yield partial
        if output.root.exists():
            output.root.rmdir()
        os.replace(partial.root, output.root)
    finally:
        shutil.rmtree(partial.root, ignore_errors=True)


def write_run(workdir: Workdir, experiment: Experiment, step: int, variables: dict[str, Any]) -> None:
    """Writes a run that stands at a step: config, plan and a checkpoint whose optimiser has seen nothing."""
    workdir.write_run(experiment.config, experiment.plan)
    checkpoints = Checkpoints(workdir.checkpoints, f"target/{experiment.task.score}")
    checkpoints.save(experiment.fresh_state(step, variables), None)
    checkpoints.close()
