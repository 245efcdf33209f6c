"""Evaluates the newest checkpoint of a run."""

import dataclasses
import logging

from softshare_jax import config as config_lib
from softshare_jax.errors import UserError
from softshare_jax.job.processes import together
from softshare_jax.runs.lengthening import with_layers
from softshare_jax.runs.load import Trained, load
from softshare_jax.runs.workdir import Workdir
from softshare_jax.training.experiment import make_experiment

log = logging.getLogger(__name__)


def evaluate(config: config_lib.Config | None, workdir: Workdir, layers: int | None = None) -> None:
    """Logs the metrics of the newest checkpoint on the test set of every phase.

    All processes of a job call this.

    Args:
        config: must match the run's config, except for the grids of shortest paths; ``None`` to use the
            run's.
        workdir: workdir of a run, folded or not; nothing is written there.
        layers: for a folded run, the depth of the network to evaluate; ``None`` for that of the run.

    Raises:
        UserError: the workdir holds no run or a run with another config, or its loops do not make that many
            layers.
    """
    run = _with_grids(workdir, config)
    if layers is not None:
        run = with_layers(run, layers)
    with together():
        run.experiment.task.prepare()
    dense = run.experiment.programs.to_dense(run.variables)
    task = run.experiment.task
    for phase in range(task.phases):
        scores = run.experiment.evaluator.evaluate(dense, phase, "test")
        values = "  ".join(f"eval/{name} {value:.4f}" for name, value in scores.items())
        log.info("step %d  %s  %s", run.step, task.phase_name(phase), values)


def _with_grids(workdir: Workdir, config: config_lib.Config | None) -> Trained:
    """Returns the run with the grids of the config: a network of shortest paths takes grids of any size."""
    given, own = config and config.data, workdir.read_config().data
    grids = config_lib.ShortestPaths
    if config is None or not isinstance(given, grids) or not isinstance(own, grids):
        return load(workdir, config=config)
    if given.split_points != own.split_points:
        raise UserError("config.data.split_points changes the channels of the images, so it cannot differ")
    run = load(workdir, config=dataclasses.replace(config, data=own))
    return run._replace(experiment=make_experiment(config, run.experiment.plan))
