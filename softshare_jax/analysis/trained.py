"""A trained run, read from its workdir."""

from typing import Any, NamedTuple

from softshare_jax.training.checkpoints import Checkpoints
from softshare_jax.training.experiment import Experiment
from softshare_jax.training.steps import averaged
from softshare_jax.training.workdir import Workdir


class Trained(NamedTuple):
    """A run at one of its checkpoints.

    Attributes:
        experiment: its functions, made from the stored config and plan.
        step: of the checkpoint.
        variables: the network there, the moving average where the run keeps one.
    """

    experiment: Experiment
    step: int
    variables: dict[str, Any]


def load(workdir: Workdir, step: int | None = None) -> Trained:
    """Reads a run at a step; ``None`` for its newest checkpoint that is whole.

    Raises:
        UserError: there is no run there, or no such step.
        RunError: its checkpoints are damaged.
    """
    experiment = Experiment(workdir.read_config(), workdir.read_plan())
    checkpoints = Checkpoints(workdir.checkpoints, f"target/{experiment.task.score}")
    try:
        step, variables = checkpoints.read_variables(experiment.state_shapes().variables, step)
    finally:
        checkpoints.close()
    return Trained(experiment, step, averaged(variables))
