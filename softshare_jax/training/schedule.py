"""When things happen in a run, in steps."""

import dataclasses

from softshare_jax.config import Config
from softshare_jax.errors import UserError
from softshare_jax.training.durations import to_steps


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The lengths of a run in steps.

    Attributes:
        epoch: steps of an epoch.
        total: steps of the run.
        phase: steps of a phase of the curriculum; the last one lasts until the end.
        phases: number of phases.
        warmup: steps of the learning rate's warm-up; 0: none.
        annealing: steps until the groups have k templates; 0: from the start.
        log, evaluation, checkpoint: steps between two of these.
    """

    epoch: int
    total: int
    phase: int
    phases: int
    warmup: int
    annealing: int
    log: int
    evaluation: int
    checkpoint: int

    def phase_at(self, step: int) -> int:
        """Returns the phase that trains the step after ``step``."""
        return min(step // self.phase, self.phases - 1)


def make_schedule(config: Config, phases: int, phase_duration: str | None) -> Schedule:
    """Returns the schedule of a config.

    Args:
        config: of the run.
        phases: of the task.
        phase_duration: of a phase; ``None`` where there is one phase.

    Raises:
        UserError: a field is not a duration, or annealing lasts longer than the run.
    """
    epoch = config.data.train_examples // config.batch_size

    def steps(field: str, duration: str) -> int:
        return to_steps(duration, epoch, f"config.{field}") if duration else 0

    # An empty duration of these is an error, not 0.
    total, log, evaluation, checkpoint = (
        to_steps(getattr(config, field), epoch, f"config.{field}")
        for field in ("duration", "log_every", "evaluate_every", "checkpoint_every")
    )
    annealing = steps("sharing.anneal", config.sharing.anneal)
    if annealing > total:
        raise UserError(f"config.sharing.anneal is {config.sharing.anneal!r}, longer than config.duration")
    return Schedule(
        epoch=epoch,
        total=total,
        phase=total if phase_duration is None else to_steps(phase_duration, epoch, "config.data.phase"),
        phases=phases,
        warmup=steps("optimizer.warmup", config.optimizer.warmup),
        annealing=annealing,
        log=log,
        evaluation=evaluation,
        checkpoint=checkpoint,
    )
