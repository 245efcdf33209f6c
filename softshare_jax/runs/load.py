"""A trained run, read from its workdir."""

import contextlib
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from softshare_jax.config import Config, first_difference
from softshare_jax.errors import RunError, UserError
from softshare_jax.job.processes import together
from softshare_jax.runs.workdir import Workdir
from softshare_jax.storage.checkpoints import Checkpoints
from softshare_jax.training.experiment import Experiment
from softshare_jax.training.finite import first_not_finite
from softshare_jax.training.stages import make_stages
from softshare_jax.training.state import averaged

log = logging.getLogger(__name__)


class Trained(NamedTuple):
    """A run at one of its checkpoints.

    Attributes:
        experiment: its functions at that step, made from the stored config and plan.
        step: of the checkpoint.
        variables: the network there, the moving average where the run keeps one.
    """

    experiment: Experiment
    step: int
    variables: dict[str, Any]


def load(
    workdir: Workdir,
    step: int | None = None,
    config: Config | None = None,
    notice: Callable[[str], object] = log.warning,
) -> Trained:
    """Reads a run at a step.

    Args:
        workdir: of the run.
        step: of the checkpoint; ``None`` for the newest that is whole.
        config: replaces the run's own, from which it must not differ in what is computed.
        notice: is called with a line for each damaged checkpoint that is passed over.

    Raises:
        UserError: there is no run there or one of another config, or no such step.
        RunError: its checkpoints are damaged, or the one that is read is not finite.
    """
    with together():
        stored = workdir.read_config()
        if difference := config and first_difference(stored, config):
            raise UserError(f"workdir {workdir.root} belongs to another config: {difference}")
        stages = make_stages(config or stored, workdir.read_plan())
    with contextlib.closing(Checkpoints(workdir.checkpoints, stages)) as checkpoints:
        step, variables = checkpoints.read_variables(step, notice)
    network = averaged(variables)
    if leaf := first_not_finite(network):
        held = ", ".join(map(str, checkpoints.steps()))
        raise RunError(
            f"the weights of checkpoint {workdir.checkpoints / str(step)} are not finite ({leaf}): "
            f"an earlier step may be; the steps there are {held}"
        )
    return Trained(stages.at(step), step, network)


def load_settled(workdir: Workdir, step: int | None = None) -> Trained:
    """Reads a run as ``load`` does, for a command that makes something else of it.

    Raises:
        UserError: as for ``load``, or the run is still being annealed at that step.
        RunError: its checkpoints are damaged.
    """
    trained = load(workdir, step)
    if trained.step < (steps := trained.experiment.schedule.annealing):
        raise UserError(f"{workdir.root} is annealed until step {steps}: take that step or a later one")
    return trained
