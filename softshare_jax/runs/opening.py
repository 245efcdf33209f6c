"""Opens the workdir of a run that is to be trained."""

from softshare_jax.config import Config, first_difference
from softshare_jax.errors import UserError
from softshare_jax.runs.workdir import Workdir
from softshare_jax.training.stages import Stages, make_stages


def open_run(config: Config | None, workdir: Workdir) -> Stages:
    """Returns the stages of a new or existing run, without changing anything in the workdir.

    Args:
        config: what to train; ``None`` for the config of the workdir.
        workdir: a new folder, or that of a run with the same config.

    Raises:
        UserError: the workdir belongs to another config or holds something else, or the data cannot be read.
    """
    stored = plan = None
    if workdir.config_file.exists() or config is None:
        stored, plan = workdir.read_config(), workdir.read_plan()
        difference = config and first_difference(stored, config)
        if difference:
            raise UserError(
                f"workdir {workdir.root} belongs to another config: {difference}; "
                "use its own config or another workdir"
            )
        config = config or stored
    elif workdir.checkpoints.exists():
        raise UserError(f"workdir {workdir.root} holds checkpoints but no config.json: use another workdir")
    elif strangers := workdir.strangers():
        raise UserError(
            f"workdir {workdir.root} holds no run but {strangers[0]!r}: name a new or empty folder"
        )
    stages = make_stages(config, plan)
    step = max(workdir.saved_steps(), default=0)
    if stored and config.duration != stored.duration and step > stages.final.schedule.total:
        raise UserError(
            f"workdir {workdir.root} is at step {step} already, beyond config.duration = "
            f"{config.duration!r}: give more than {step} steps"
        )
    stages.final.task.prepare()
    return stages
