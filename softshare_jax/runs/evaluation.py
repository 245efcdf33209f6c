"""Evaluates the newest checkpoint of a run."""

import logging

from softshare_jax import config as config_lib
from softshare_jax.job.processes import together
from softshare_jax.runs.load import load
from softshare_jax.runs.workdir import Workdir

log = logging.getLogger(__name__)


def evaluate(config: config_lib.Config | None, workdir: Workdir) -> None:
    """Logs the metrics of the newest checkpoint on the test set of every phase.

    Of several processes all call this.

    Args:
        config: must be the run's own; ``None`` to take that.
        workdir: a run, folded or not; nothing is written there.

    Raises:
        UserError: there is no run there, or another one.
    """
    run = load(workdir, config=config)
    with together():
        run.experiment.task.prepare()
    plain = run.experiment.programs.to_dense(run.variables)
    task = run.experiment.task
    for phase in range(task.phases):
        scores = run.experiment.evaluator.evaluate(plain, phase, "test")
        values = "  ".join(f"eval/{name} {value:.4f}" for name, value in scores.items())
        log.info("step %d  %s  %s", run.step, task.phase_name(phase), values)
