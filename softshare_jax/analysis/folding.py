"""Folds a trained run from one workdir into another."""

import json
import os
import pathlib
import shutil
from typing import Any

from softshare_jax import sharing
from softshare_jax.analysis.certificate import certify
from softshare_jax.analysis.trained import Trained, load
from softshare_jax.errors import UserError
from softshare_jax.training.checkpoints import Checkpoints
from softshare_jax.training.experiment import Experiment
from softshare_jax.training.workdir import Workdir


def fold_run(
    source: Workdir,
    output: Workdir,
    threshold: float | None = None,
    max_drop: float | None = None,
    measure: sharing.Measure = "weights",
    step: int | None = None,
) -> dict[str, Any]:
    """Folds the run in one workdir into another, which appears complete or not at all.

    The folded workdir goes on from the same step with the records of its source, so that
    ``main`` evaluates it or trains it further and ``report`` shows its history.

    Args:
        source: workdir of a trained run; it is not changed.
        output: workdir to make; it must not exist, or be an empty folder.
        threshold: similarity from which layers merge, 0 to 1; 0.9 where neither it nor
            ``max_drop`` is given.
        max_drop: in its place, the fall of the score that the fold may cost, in percentage points.
        measure: ``'weights'`` or ``'coefficients'``.
        step: of the checkpoint; ``None`` for the newest.

    Returns:
        The certificate, which is also in the output.

    Raises:
        UserError: an argument is out of range, the source holds no run or nothing shared, or
            the output is in use.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise UserError(f"--threshold is a similarity from 0 to 1, not {threshold}")
    if max_drop is not None and not 0 <= max_drop <= 100:
        raise UserError(f"--max_drop is in percentage points, from 0 to 100, not {max_drop}")
    before = load(source, step)
    if not before.experiment.plan.groups:
        raise UserError(f"{before.experiment.config.model} shares nothing, so nothing can fold")
    _check_unused(output.root)
    plan, experiment = before.experiment.plan, before.experiment
    if max_drop is None:
        threshold = 0.9 if threshold is None else threshold
        folded = sharing.fold(plan, before.variables, threshold, measure)
    else:
        phase = experiment.task.phases - 1
        folded, threshold = sharing.fold_within(
            plan,
            before.variables,
            lambda plain: experiment.evaluate(plain, phase)[experiment.task.score],
            max_drop / 100,
            measure,
        )

    partial = Workdir(output.root.with_name(output.root.name + ".partial"))
    shutil.rmtree(partial.root, ignore_errors=True)
    partial.create()
    try:
        _write(before, folded, source, partial)
        # The certificate is about what was read back from disk, not about what was meant.
        after = load(partial)
        certificate = {"source": str(source.root), **certify(before, after, threshold, measure)}
        partial.write(partial.certificate_file, json.dumps(certificate, indent=1))
        if output.root.exists():
            output.root.rmdir()
        os.replace(partial.root, output.root)
    finally:
        shutil.rmtree(partial.root, ignore_errors=True)
    return certificate


def _write(before: Trained, folded: sharing.Folded, source: Workdir, output: Workdir) -> None:
    """Writes the folded run into a new workdir."""
    experiment = Experiment(before.experiment.config, folded.plan)
    output.write_run(experiment.config, folded.plan)
    checkpoints = Checkpoints(output.checkpoints, f"target/{experiment.task.score}")
    checkpoints.save(experiment.fresh_state(before.step, folded.variables), None)
    checkpoints.close()
    for file in (source.metrics_file, source.devices_file):
        if file.exists():
            shutil.copy(file, output.root / file.name)
    if source.similarity.is_dir():
        shutil.copytree(source.similarity, output.similarity)


def _check_unused(root: pathlib.Path) -> None:
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise UserError(f"--output {root} is in use: name a new folder")
