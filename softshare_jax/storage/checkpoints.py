"""Checkpoints: damaged ones are not restored, and committed ones survive a power loss."""

import concurrent.futures
import contextlib
import functools
import json
import logging
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

from softshare_jax import durable
from softshare_jax.errors import RunError, UserError
from softshare_jax.job.processes import any_process, is_first, same_for_all, together
from softshare_jax.job.save_barrier import SaveBarrier
from softshare_jax.storage import array_store, step_reader, versions
from softshare_jax.storage import seal as seal_lib
from softshare_jax.storage.damage import Damaged, Vanished, first_line
from softshare_jax.storage.seal import Seal
from softshare_jax.storage.step_folders import StepFolders, holds_steps
from softshare_jax.training.checksum import checksum
from softshare_jax.training.finite import first_not_finite
from softshare_jax.training.stages import Stages
from softshare_jax.training.state import TrainState

T = TypeVar("T")

# Number of attempts to read if the run keeps deleting the step that is about to be read.
ATTEMPTS = 20


log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of a workdir: the last few and the best.

    The folder of a step holds the arrays ``variables`` and ``optimizer``, and ``seal``. Saving is
    asynchronous. A step gets its final name once everything that a run needs to resume from it is on disk.
    Only then are older steps deleted.
    """

    def __init__(
        self,
        root: pathlib.Path,
        stages: Stages,
        before_commit: Callable[[], None] = lambda: None,
    ):
        """Opens the folder; it need not exist.

        Args:
            root: absolute path of the ``checkpoints`` folder.
            stages: the run's stages, made from its config and plan.
            before_commit: flushes the files outside this folder that a step needs; called in a thread.
        """
        self._folders, self._stages, self._before_commit = StepFolders(root), stages, before_commit
        self._score_name = f"target/{stages.final.task.score}"
        self._scores: dict[int, float | None] = {}
        self._barrier = SaveBarrier(f"save/{root}")
        self._writer: array_store.Writer | None = None
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._saved: concurrent.futures.Future[None] | None = None

    def steps(self) -> list[int]:
        """Returns the steps on disk, newest first."""
        return self._folders.steps()

    def save(self, state: TrainState, scores: Mapping[str, float] | None) -> None:
        """Starts to save a state; ``wait`` returns when it is on disk.

        Args:
            state: it may be donated as soon as this returns.
            scores: evaluation scores; with them this step may become the best. ``None``: not evaluated.

        Raises:
            RunError: the state is not finite, the folder holds this step or a later one, the workdir is gone,
                or the previous save failed.
            OSError: the previous save failed.
        """
        self.wait()
        step, items = int(state.step), {"variables": state.variables, "optimizer": state.opt_state}
        if leaf := first_not_finite(items):
            raise RunError(
                f"{leaf} is not finite at step {step}, so step {step} is not saved; {self.way_on()}"
            )
        final = self._stages.final
        seal = Seal(
            arrays={name: checksum(tree) for name, tree in items.items()},
            step=step,
            scores=dict(scores or {}),
            config=versions.stamped(final.config.to_dict(), **{versions.CONVOLUTION: final.convolution}),
            plan=json.loads(final.plan.to_json()),
        )
        with together():
            if is_first():
                if not (workdir := self._folders.root.parent).is_dir():
                    # Saving would create a folder without config.json, where no run can start.
                    raise RunError(f"step {step} is not saved: {workdir} was moved or deleted during the run")
                if max(self.steps(), default=-1) >= step:
                    raise RunError(f"step {step} is not saved: {self._folders.root} has it or a later step")
                durable.make_folder(self._folders.root)
        self._writer = self._writer or array_store.Writer(self._barrier)
        self._writer.save(self._folders.saving(step), items)
        self._saved = self._thread.submit(self._finish, step, seal)

    def wait(self) -> None:
        """Waits until the last save is on disk.

        Raises:
            RunError: the save failed, here or in another process.
            OSError: the save failed.
        """
        saved, self._saved = self._saved, None
        if saved is not None:
            with together():
                saved.result()

    def close(self) -> None:
        """Waits, then ends the threads."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            if self._writer:
                self._writer.close()

    def way_on(self) -> str:
        """Returns advice, for a message, on resuming a run whose state is no longer finite."""
        self.wait()
        steps = self._agreed_steps()
        last = (
            f"the same command resumes from checkpoint {steps[0]}, which is finite"
            if steps
            else "there is no checkpoint yet"
        )
        return f"{last}; if it happens again, try a lower config.optimizer.learning_rate in a new workdir"

    def restore(self, set_aside: pathlib.Path) -> TrainState | None:
        """Returns the newest undamaged state, or ``None`` if there are no checkpoints.

        Deletes leftovers of killed processes, so the caller must hold the lock of the workdir.

        Args:
            set_aside: folder that damaged steps are moved to.

        Raises:
            RunError: all checkpoints are or were damaged; or the newest undamaged one is not finite or cannot
                be read for another reason.
            UserError: the newest undamaged one belongs to another step, config or plan.
        """
        with together():
            if is_first():
                self._folders.discard_leftovers()
        for step in self._agreed_steps():
            try:
                seal, state = self._in_all(functools.partial(self._read_state, step))
            except Damaged as damage:
                with together():
                    if is_first():
                        moved = self._folders.move_aside(step, set_aside)
                        log.warning("checkpoint %d is damaged (%s); moved it to %s", step, damage, moved)
                continue
            if leaf := first_not_finite({"variables": state.variables, "optimizer": state.opt_state}):
                raise RunError(
                    f"checkpoint {self._folders.of(step)} is not finite ({leaf}): "
                    f"move it to {set_aside} to resume from the previous one"
                )
            if change := versions.change_of_bits(seal.versions, self._stages.final.convolution):
                log.warning("checkpoint %d %s; the resumed run is not bit-for-bit the same", step, change)
            return state
        if holds_steps(set_aside):
            raise RunError(
                f"all checkpoints of {self._folders.root} were damaged and are now in {set_aside}; "
                "train in another workdir, or move one back"
            )
        return None

    def read_variables(
        self, step: int | None = None, notice: Callable[[str], object] = log.warning
    ) -> tuple[int, dict[str, Any]]:
        """Reads the variables of a step, for commands that do not train and change nothing here.

        The run may be in progress. If it deletes the step that is being read, the read starts again.

        Args:
            step: number of the step; ``None`` for the newest undamaged one.
            notice: called with a line for each damaged step that is skipped.

        Returns:
            ``(step, variables)``.

        Raises:
            UserError: the step does not exist, there are no steps, or it belongs to another config or plan.
            RunError: the step or every step is damaged, or it cannot be read for another reason.
        """
        root = self._folders.root
        for _ in range(ATTEMPTS):
            # A listing during a rename may miss a folder.
            steps = self._agreed_steps() or self._agreed_steps()
            if not steps:
                raise UserError(f"{root} holds no checkpoint: train first")
            if step is not None and step not in steps:
                raise UserError(f"{root} holds no step {step}; it holds {', '.join(map(str, steps))}")
            with contextlib.suppress(Vanished):
                return self._newest_whole(steps, notice) if step is None else (step, self._read_whole(step))
        raise RunError(f"the steps of {root} are deleted faster than they can be read; try again later")

    def _newest_whole(self, steps: list[int], notice: Callable[[str], object]) -> tuple[int, dict[str, Any]]:
        for step in steps:
            try:
                return step, self._read_step(step)
            except Damaged as damage:
                notice(f"checkpoint {step} is damaged ({damage}); skipped")
        raise RunError(f"no checkpoint of {self._folders.root} can be read")

    def _read_whole(self, step: int) -> dict[str, Any]:
        try:
            return self._read_step(step)
        except Damaged as damage:
            others = [other for other in self.steps() if other != step]
            advice = f"; choose another step: {', '.join(map(str, others))}" if others else ""
            raise RunError(
                f"checkpoint {step} of {self._folders.root} is damaged ({damage}){advice}"
            ) from damage

    def _read_step(self, step: int) -> dict[str, Any]:
        shapes = {"variables": self._stages.state_shapes(step).variables}
        _, items = self._in_all(functools.partial(self._read, step, shapes))
        return items["variables"]

    def _agreed_steps(self) -> list[int]:
        """Returns the steps on disk, newest first, the same in all processes of a job."""
        return [int(step) for step in same_for_all(" ".join(map(str, self.steps()))).split()]

    def _in_all(self, read: Callable[[], T]) -> T:
        """Returns what ``read`` returns, if it succeeds in all processes of a job.

        Raises:
            Damaged: a process found the checkpoint damaged.
            Vanished: the checkpoint was deleted while a process read it.
        """
        failure: Damaged | Vanished | None = None
        with together():
            try:
                found = read()
            except (Damaged, Vanished) as error:
                failure = error
        if any_process(isinstance(failure, Vanished)):
            raise Vanished("a checkpoint was deleted while it was read")
        # If one process cannot read it, no process uses it.
        if any_process(failure is not None):
            raise failure or Damaged("another process cannot read it")
        return found

    def _read_state(self, step: int) -> tuple[Seal, TrainState]:
        shapes = self._stages.state_shapes(step)
        seal, items = self._read(step, {"variables": shapes.variables, "optimizer": shapes.opt_state})
        # device_put cannot reach the devices of other processes.
        number = jax.make_array_from_callback((), shapes.step.sharding, lambda _: np.array(step, np.int32))
        return seal, TrainState(number, items["variables"], items["optimizer"])

    def _read(self, step: int, shapes: Mapping[str, Any]) -> tuple[Seal, dict[str, Any]]:
        """Reads items of a step as ``step_reader.read`` does.

        Raises:
            Vanished: the step was deleted while it was read.
        """
        with self._folders.kept(step) as folder:
            try:
                return step_reader.read(folder, self._stages.final.config, self._stages.final.plan, shapes)
            except (Damaged, RunError) as error:
                if not folder.exists():
                    raise Vanished(f"{folder} was deleted while it was read") from error
                raise

    def _finish(self, step: int, seal: Seal) -> None:
        """Finishes a save, in a thread: the first process commits it, and the others wait."""
        assert self._writer is not None
        try:
            self._writer.wait()
            if is_first():
                self._commit(step, seal)
        except BaseException as error:
            self._barrier.give_up()
            if isinstance(error, (RunError, OSError, jax.errors.JaxRuntimeError)):
                raise
            raise RunError(f"checkpoint {step} cannot be saved: {first_line(error)}") from error
        self._barrier(key="committed")

    def _commit(self, step: int, seal: Seal) -> None:
        saving = self._folders.saving(step)
        self._before_commit()
        durable.fsync_tree(saving)
        seal_lib.write(saving, seal)
        self._folders.commit(step)
        self._scores[step] = seal.scores.get(self._score_name)
        for old in self._superseded():
            self._folders.delete(old)

    def _superseded(self) -> list[int]:
        """Returns the steps to delete: all except the last few and the one with the best score."""
        steps = self.steps()
        for step in steps:
            if step not in self._scores:
                self._scores[step] = seal_lib.score(self._folders.of(step), self._score_name)
        scored = [(s, step) for step in steps if (s := self._scores[step]) is not None and math.isfinite(s)]
        kept = {
            *steps[: self._stages.final.config.keep_checkpoints],
            *(step for _, step in sorted(scored)[-1:]),
        }
        return [step for step in steps if step not in kept]
