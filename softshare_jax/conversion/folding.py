"""Folds a trained run from one workdir into another."""

import logging
from collections.abc import Sequence
from typing import Any

from softshare_jax import sharing
from softshare_jax.conversion.batch_norm import make_reestimation
from softshare_jax.conversion.certificate import certify
from softshare_jax.conversion.output import check_unused, new_workdir, write_run
from softshare_jax.errors import UserError
from softshare_jax.runs.artifacts import Certificate
from softshare_jax.runs.load import load, load_settled
from softshare_jax.runs.records import copy_until
from softshare_jax.runs.workdir import Workdir
from softshare_jax.training.experiment import make_experiment

log = logging.getLogger(__name__)


def fold_run(
    source: Workdir,
    output: Workdir,
    threshold: float | None = None,
    max_drop: float | None = None,
    measure: sharing.Measure = "weights",
    step: int | None = None,
    batch_norm_batches: int = 0,
    tied: bool = False,
    joint: Sequence[Sequence[str]] = (),
) -> Certificate:
    """Folds the run in one workdir into another, which appears complete or not at all.

    The folded workdir continues from the same step and with the records of its source: ``main`` evaluates it
    or trains it further.

    Args:
        source: workdir of a trained run; it is not changed.
        output: workdir to make; it must not exist, or be an empty folder.
        threshold: similarity from which layers merge, 0 to 1; 0.9 if neither it nor
            ``max_drop`` is given.
        max_drop: alternative to ``threshold``: the largest fall of the score, in percentage points.
        measure: ``'weights'`` or ``'coefficients'``.
        step: of the checkpoint; ``None`` for the newest.
        batch_norm_batches: training batches over which batch-norm is re-estimated after the fold; 0 to keep
            its statistics.
        tied, joint: as for ``sharing.fold``.

    Returns:
        The certificate, which is also in the output.

    Raises:
        UserError: an argument is out of range or names an unknown group, the source holds no run or nothing
            shared, or the output is in use.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise UserError(f"--threshold is a similarity from 0 to 1, not {threshold}")
    if max_drop is not None and not 0 <= max_drop <= 100:
        raise UserError(f"--max_drop is in percentage points, from 0 to 100, not {max_drop}")
    if batch_norm_batches < 0:
        raise UserError(f"--batch_norm_batches is 0 or more, not {batch_norm_batches}")
    before = load_settled(source, step)
    if not before.experiment.plan.groups:
        raise UserError(f"{before.experiment.config.model} shares nothing, so nothing can fold")
    check_unused(output.root)
    before.experiment.task.prepare()
    plan, experiment = before.experiment.plan, before.experiment
    renew = make_reestimation(experiment, batch_norm_batches) if batch_norm_batches else None
    phase, score = experiment.task.phases - 1, experiment.task.score

    def measured(plain: dict[str, Any]) -> float:
        return experiment.evaluator.evaluate(plain, phase)[score]

    try:
        if max_drop is None:
            threshold = 0.9 if threshold is None else threshold
            folded = sharing.fold(plan, before.variables, threshold, measure, tied=tied, joint=joint)
        else:
            log.info("searching for the smallest network within %g points", max_drop)
            folded, threshold = sharing.fold_within(
                plan,
                before.variables,
                lambda plain: measured(renew(plain) if renew else plain),
                max_drop / 100,
                measure,
                before=measured(experiment.programs.to_dense(before.variables)),
                tied=tied,
                joint=joint,
            )
            if folded.plan == plan:
                # Nothing folds within the budget, and new statistics alone might not be within it.
                batch_norm_batches = 0
    except sharing.PlanError as error:
        raise UserError(f"{source.root} ({experiment.config.model}): {error}") from error
    after, variables = make_experiment(experiment.config, folded.plan), folded.variables
    if renew and batch_norm_batches:
        variables = {**variables, "batch_stats": renew(after.programs.to_dense(variables))["batch_stats"]}
    with new_workdir(output) as workdir:
        write_run(workdir, after, before.step, variables)
        copy_until(source, workdir, before.step)
        # It certifies what is read back from disk.
        certificate = certify(before, load(workdir), threshold, measure, str(source.root), batch_norm_batches)
        workdir.write_sealed(workdir.certificate_file, certificate.to_json())
    return certificate
