"""The training loop: when a run steps, logs, evaluates and saves."""

import contextlib
import logging
import math
import signal

import jax

from softshare_jax.config import Config
from softshare_jax.errors import RunError, UserError
from softshare_jax.job.processes import any_process, is_first, together
from softshare_jax.runs import data_record
from softshare_jax.runs.opening import open_run
from softshare_jax.runs.profile import Profile
from softshare_jax.runs.progress import Progress, describe_groups
from softshare_jax.runs.records import Records
from softshare_jax.runs.stopping import StopRequest, stop_on_signal
from softshare_jax.runs.workdir import Workdir
from softshare_jax.storage.checkpoints import Checkpoints
from softshare_jax.training.checksum import checksum
from softshare_jax.training.durations import is_due, next_due
from softshare_jax.training.stages import Stages
from softshare_jax.training.state import TrainState, averaged
from softshare_jax.training.tasks.batching import Feed

log = logging.getLogger(__name__)


def train(config: Config | None, workdir: Workdir) -> int | None:
    """Trains a run to its end, resuming from its newest undamaged checkpoint if there is one.

    On SIGTERM, or on Ctrl-C after the first step, it saves a checkpoint and returns. All processes of a job
    call this. All write checkpoints; only the first process writes other files.

    Args:
        config: what to train; ``None`` for the config of the workdir.
        workdir: a new folder, or that of a run with the same config.

    Returns:
        The number of the signal that stopped the run early; ``None`` if the run is complete.

    Raises:
        UserError: the workdir belongs to another config or cannot be written.
        RunError: the loss or the state is not finite, or no checkpoint can be restored.
    """
    with stop_on_signal() as stop, contextlib.ExitStack() as held:
        with together():
            # Lock before reading the config: the current holder may be about to write another one.
            locks_first = is_first() and workdir.config_file.exists()
            if locks_first:
                workdir.create()
                held.enter_context(workdir.lock())
        with together():
            stages = open_run(config, workdir)
        with together():
            if is_first():
                if not locks_first:
                    workdir.create()
                    held.enter_context(workdir.lock())
                    if workdir.config_file.exists():
                        raise UserError(f"another process started a run in {workdir.root}; try again")
                workdir.sign_lock()
                workdir.write_run(stages.final.config, stages.final.plan)
                if data_set := stages.final.task.data_set():
                    data_record.write(workdir, data_set)
        ended = _Run(stages, workdir, stop).run()
        return None if ended else stop.number


class _Run:
    """One process's share of a run."""

    def __init__(self, stages: Stages, workdir: Workdir, stop: StopRequest):
        self.stages, self.workdir, self.stop = stages, workdir, stop
        self.schedule, self.task = stages.final.schedule, stages.final.task
        self.total = self.schedule.total
        self.checkpoints = Checkpoints(workdir.checkpoints, stages, workdir.sync)

    def run(self) -> bool:
        """Takes the remaining steps; returns whether the run is complete."""
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(self.checkpoints.close)
            restored = self.checkpoints.restore(self.workdir.damaged)
            step = int(restored.step) if restored else 0
            self.experiment = self.stages.at(step)
            state = restored or self.experiment.programs.init_state()
            if step >= self.total:
                log.info(
                    "%s is trained to step %d of %d; parameter checksum %s; to continue, set a longer "
                    "--config.duration",
                    *(self.workdir.root, step, self.total, checksum(state.variables)),
                )
                return True
            self._announce(step, restored is not None)
            self.records = Records(self.workdir, step) if is_first() else None
            if self.records:
                cleanup.callback(self.records.close)
            if not restored:
                self._record_similarity(state)
            feed = self.task.feed(self.experiment.batching, range(step, self.total))
            cleanup.callback(feed.close)
            profile = Profile(self.workdir, step, self.experiment.config.profile_steps)
            cleanup.callback(profile.close)
            state = self._loop(state, step, feed, profile)
            self.checkpoints.wait()
        done = int(state.step)
        if done < self.total:
            log.info("stopped at step %d of %d; run the same command again to resume", done, self.total)
        else:
            log.info(
                "trained %d steps; parameter checksum %s; checkpoints in %s",
                *(done, checksum(state.variables), self.workdir.checkpoints),
            )
        return done >= self.total

    def _loop(self, state: TrainState, step: int, feed: Feed, profile: Profile) -> TrainState:
        schedule, programs = self.schedule, self.experiment.programs
        everies = (schedule.log, schedule.evaluation, schedule.checkpoint)
        turns = (schedule.epoch, schedule.phase, schedule.annealing)
        boundaries = [every for every in (*everies, *turns) if every]
        progress = Progress(step, self.total)
        metrics = programs.no_metrics()
        stopping = False
        while step < self.total and not stopping:
            phase = schedule.phase_at(step)
            fed = feed.at(step)
            count = min(next_due(step, boundaries, self.total) - step, self.experiment.steps_per_dispatch)
            profile.before(step)
            state, metrics = programs.train_steps(state, metrics, fed, count)
            self.stop.answer(signal.SIGINT)  # from here on there are steps to save
            step += count
            profile.after(step, state)
            if self.stages.at(step) is not self.experiment:
                self.experiment = self.stages.at(step)
                programs = self.experiment.programs
                state = self.stages.take_over(state)
                groups = describe_groups(self.experiment.plan)
                log.info("annealing ended at step %d; continuing with %s", step, groups)
            # Poll once per iteration; a later signal is handled by the next iteration. A signal to one
            # process stops all of them at the same step.
            stopping = any_process(bool(self.stop))
            evaluates = is_due(step, schedule.evaluation, self.total)
            saves = stopping or is_due(step, schedule.checkpoint, self.total)
            scores = None
            if evaluates or saves or is_due(step, schedule.log, self.total):
                scalars = {f"train/{name}": float(value) for name, value in metrics.compute().items()}
                self._check_finite(scalars, step)
                metrics = programs.no_metrics()
                if evaluates:
                    scores = self._evaluate(state, phase, step)
                    self._record_similarity(state)
                if self.records:
                    self.records.write_scalars(step, {"phase": phase, **scalars, **(scores or {})})
                log.info(progress.line(step, self.task.phase_name(phase), {**scalars, **(scores or {})}))
            if saves:
                self.checkpoints.save(state, scores)
        return state

    def _evaluate(self, state: TrainState, phase: int, step: int) -> dict[str, float]:
        """Evaluates on the current phase and on the last one, which is the target of the curriculum."""
        evaluate, score = self.experiment.evaluator.evaluate, self.task.score
        dense = self.experiment.programs.to_dense(averaged(state.variables))
        now = evaluate(dense, phase)
        last = self.task.phases - 1
        target = now[score] if phase == last else evaluate(dense, last)[score]
        scores = {f"eval/{name}": value for name, value in now.items()} | {f"target/{score}": target}
        if step == self.total and self.task.evaluated != "test":
            # The validation split was used for model selection; the test split was not.
            tested = evaluate(dense, last, "test")
            scores |= {f"test/{name}": value for name, value in tested.items()}
        return scores

    def _record_similarity(self, state: TrainState) -> None:
        if self.experiment.plan.groups:
            matrices = self.experiment.programs.similarity(averaged(state.variables))
            if self.records:
                self.records.write_similarity(int(state.step), jax.device_get(matrices))

    def _check_finite(self, scalars: dict[str, float], step: int) -> None:
        if not math.isfinite(scalars["train/loss"]):
            raise RunError(f"the loss is {scalars['train/loss']} by step {step}; {self.checkpoints.way_on()}")

    def _announce(self, step: int, resumed: bool) -> None:
        experiment = self.experiment
        start = f"resuming from step {step}" if resumed else "a new run"
        annealing = (
            f", annealed until step {self.schedule.annealing}" if step < self.schedule.annealing else ""
        )
        log.info(
            f"{self.workdir.root}: {start} of {self.total} steps; {experiment.config.model}, "
            f"shared: {describe_groups(experiment.plan)}{annealing}; "
            f"{jax.device_count()} {jax.default_backend()} device(s) in {jax.process_count()} process(es); "
            "compiling takes a moment"
        )
