"""The training loop: when things happen. What happens is elsewhere."""

import contextlib
import math
import signal

import jax

from softshare_jax.config import schema as config_lib
from softshare_jax.errors import RunError, UserError
from softshare_jax.job.processes import any_process, is_first, together
from softshare_jax.runs.progress import Progress
from softshare_jax.runs.records import Records
from softshare_jax.runs.stopping import StopRequest, stop_on_signal
from softshare_jax.runs.workdir import Workdir
from softshare_jax.storage.checkpoints import Checkpoints
from softshare_jax.training.checksum import checksum
from softshare_jax.training.durations import is_due, next_due
from softshare_jax.training.experiment import Experiment
from softshare_jax.training.feed import Feed, make_feed
from softshare_jax.training.steps import TrainState, averaged

# Steps between the start of a run and the start of its profile, which then holds no compilation.
PROFILE_AFTER = 5
# As many groups are named one by one.
MOST_GROUPS = 12


def train(config: config_lib.Config | None, workdir: Workdir) -> int | None:
    """Trains a run to its end, or resumes it where its last whole checkpoint is.

    On SIGTERM, and after the first step on Ctrl-C, it saves, says how to go on, and returns. Of several
    processes all call this, and the first one alone writes, but for checkpoints.

    Args:
        config: what to train; ``None`` for the config of the workdir.
        workdir: a new folder, or that of a run with the same config.

    Returns:
        The number of the signal that stopped the run before its end; ``None`` where it is at its end.

    Raises:
        UserError: the workdir belongs to another config or cannot be written.
        RunError: the loss or the state is not finite, or no checkpoint can be restored.
    """
    with stop_on_signal() as stop, contextlib.ExitStack() as held:
        with together():
            # Before the config is read: whoever holds the workdir may be about to write another.
            locks_first = is_first() and workdir.config_file.exists()
            if locks_first:
                workdir.create()
                held.enter_context(workdir.lock())
        with together():
            experiment = _open(config, workdir)
        with together():
            if is_first():
                if not locks_first:
                    workdir.create()
                    held.enter_context(workdir.lock())
                    if workdir.config_file.exists():
                        raise UserError(f"another process has begun a run in {workdir.root}: start again")
                workdir.sign_lock()
                workdir.write_run(experiment.config, experiment.plan)
        ended = _Run(experiment, workdir, stop).run()
        return None if ended else stop.number


def _open(config: config_lib.Config | None, workdir: Workdir) -> Experiment:
    """Returns the experiment of a new or existing run, having written nothing into an existing one."""
    stored = plan = None
    if workdir.config_file.exists() or config is None:
        stored, plan = workdir.read_config(), workdir.read_plan()
        difference = config and config_lib.first_difference(stored, config)
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
    experiment = Experiment(config, plan)
    step = max(workdir.saved_steps(), default=0)
    if stored and config.duration != stored.duration and step > experiment.total_steps:
        raise UserError(
            f"workdir {workdir.root} is at step {step} already, beyond config.duration = "
            f"{config.duration!r}: give more than {step} steps"
        )
    experiment.task.prepare()
    return experiment


class _Run:
    """One process's share of a run."""

    def __init__(self, experiment: Experiment, workdir: Workdir, stop: StopRequest):
        self.experiment, self.workdir, self.stop = experiment, workdir, stop
        config = experiment.config
        self.total = experiment.total_steps
        self.log_every = experiment.steps_of("log_every", config.log_every)
        self.evaluate_every = experiment.steps_of("evaluate_every", config.evaluate_every)
        self.checkpoint_every = experiment.steps_of("checkpoint_every", config.checkpoint_every)
        self.checkpoints = Checkpoints(workdir.checkpoints, experiment, workdir.sync)

    def run(self) -> bool:
        """Takes all steps that are left, and returns whether that was possible: nobody asked it to stop."""
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(self.checkpoints.close)
            restored = self.checkpoints.restore(self.workdir.damaged)
            step = int(restored.step) if restored else 0
            self.experiment = self.experiment.at(step)
            state = restored or self.experiment.init_state()
            if step >= self.total:
                print(
                    f"{self.workdir.root} is trained to step {step} of {self.total}; parameter checksum "
                    f"{checksum(state.variables)}; to go on, give a longer --config.duration",
                    flush=True,
                )
                return True
            self._announce(step, restored is not None)
            self.records = Records(self.workdir, step) if is_first() else None
            if self.records:
                cleanup.callback(self.records.close)
            if not restored:
                self._record_similarity(state)
            feed = make_feed(self.experiment, step, self.total)
            cleanup.callback(feed.close)
            state = self._loop(state, step, feed)
            self.checkpoints.wait()
        done = int(state.step)
        if done < self.total:
            print(f"stopped at step {done} of {self.total}; run the same command again to go on", flush=True)
        else:
            print(
                f"trained {done} steps; parameter checksum {checksum(state.variables)}; "
                f"checkpoints in {self.workdir.checkpoints}",
                flush=True,
            )
        return done >= self.total

    def _loop(self, state: TrainState, step: int, feed: Feed) -> TrainState:
        experiment = self.experiment
        everies = (self.log_every, self.evaluate_every, self.checkpoint_every)
        turns = (experiment.steps_per_epoch, experiment.phase_steps, experiment.annealing_steps)
        boundaries = [every for every in (*everies, *turns) if every]
        progress = Progress(step, self.total)
        profile = _Profile(self.workdir, step + PROFILE_AFTER, experiment.config.profile_steps)
        metrics = experiment.no_metrics()
        stopping = False
        while step < self.total and not stopping:
            phase = experiment.phase_at(step)
            data, order = feed.at(step)
            count = min(next_due(step, boundaries, self.total) - step, experiment.steps_per_dispatch)
            profile.before(step)
            state, metrics = experiment.train_steps(state, metrics, data, order, count)
            self.stop.answer(signal.SIGINT)  # from here on there is something to save
            step += count
            profile.after(step, state)
            if experiment.at(step) is not experiment:
                experiment = self.experiment = experiment.at(step)
                state = experiment.take_over(state)
                print(f"annealed by step {step}; going on with {self._groups()}", flush=True)
            # Asked once a turn: a signal that comes later is for the next one, which then saves. One
            # process that is asked to stop stops all, at the same step.
            stopping = any_process(bool(self.stop))
            evaluates = is_due(step, self.evaluate_every, self.total)
            saves = stopping or is_due(step, self.checkpoint_every, self.total)
            scores = None
            if evaluates or saves or is_due(step, self.log_every, self.total):
                scalars = {f"train/{name}": float(value) for name, value in metrics.compute().items()}
                self._check_finite(scalars, step)
                metrics = experiment.no_metrics()
                if evaluates:
                    scores = self._evaluate(state, phase, step)
                    self._record_similarity(state)
                if self.records:
                    self.records.write_scalars(step, {"phase": phase, **scalars, **(scores or {})})
                shown = {**scalars, **(scores or {})}
                print(progress.line(step, experiment.task.phase_name(phase), shown), flush=True)
            if saves:
                self.checkpoints.save(state, scores)
        return state

    def _evaluate(self, state: TrainState, phase: int, step: int) -> dict[str, float]:
        """Evaluates on the current phase, and on the last one, the target of the curriculum."""
        experiment = self.experiment
        plain = experiment.to_plain(averaged(state.variables))
        now = experiment.evaluator.evaluate(plain, phase)
        last = experiment.task.phases - 1
        score = experiment.task.score
        target = now[score] if phase == last else experiment.evaluator.evaluate(plain, last)[score]
        scores = {f"eval/{name}": value for name, value in now.items()} | {f"target/{score}": target}
        if step == self.total and experiment.task.evaluated != "test":
            # What was held out has chosen the run; this has had no say in it.
            tested = experiment.evaluator.evaluate(plain, last, "test")
            scores |= {f"test/{name}": value for name, value in tested.items()}
        return scores

    def _record_similarity(self, state: TrainState) -> None:
        if self.experiment.plan.groups:
            matrices = self.experiment.similarity(averaged(state.variables))
            if self.records:
                self.records.write_similarity(int(state.step), jax.device_get(matrices))

    def _check_finite(self, scalars: dict[str, float], step: int) -> None:
        if not math.isfinite(scalars["train/loss"]):
            raise RunError(f"the loss is {scalars['train/loss']} by step {step}: {self.checkpoints.way_on()}")

    def _announce(self, step: int, resumed: bool) -> None:
        experiment = self.experiment
        config = experiment.config
        start = f"going on from step {step}" if resumed else "a new run"
        annealing = f", annealed until step {experiment.annealing_steps}" if experiment.target else ""
        print(
            f"{self.workdir.root}: {start} of {self.total} steps; {config.model}, "
            f"shared: {self._groups() or 'nothing'}{annealing}; "
            f"{jax.device_count()} {jax.default_backend()} device(s) in {jax.process_count()} process(es); "
            "compiling takes a moment",
            flush=True,
        )

    def _groups(self) -> str:
        groups = self.experiment.plan.groups
        if len(groups) <= MOST_GROUPS:
            return "; ".join(f"{g.name} of {g.layers} layers with {g.templates} templates" for g in groups)
        layers, templates = ({getattr(g, what) for g in groups} for what in ("layers", "templates"))
        return f"{len(groups)} groups of {_range(layers)} layers with {_range(templates)} templates"


def _range(numbers: set[int]) -> str:
    return " to ".join(map(str, sorted({min(numbers), max(numbers)})))


class _Profile:
    """Traces ``steps`` steps from step ``start`` on into the workdir, for TensorBoard or XProf."""

    def __init__(self, workdir: Workdir, start: int, steps: int):
        self._workdir, self._start, self._stop = workdir, start, start + steps
        self._running = False

    def before(self, step: int) -> None:
        """Starts the trace where it is due."""
        if self._start <= step < self._stop and not self._running and is_first():
            jax.profiler.start_trace(str(self._workdir.profile))
            self._running = True

    def after(self, step: int, state: TrainState) -> None:
        """Ends the trace where it is due."""
        if self._running and step >= self._stop:
            jax.block_until_ready(state)
            jax.profiler.stop_trace()
            self._running = False
            print(f"wrote a profile to {self._workdir.profile}", flush=True)
