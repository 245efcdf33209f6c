"""Checkpoints that are never restored wrong: Orbax, checksums and a way back."""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from softshare_jax.errors import RunError, UserError
from softshare_jax.training.checksum import checksum
from softshare_jax.training.processes import any_process, is_first
from softshare_jax.training.save_barrier import SaveBarrier
from softshare_jax.training.steps import TrainState

Shapes = Callable[[int], TrainState]


class Checkpoints:
    """The checkpoints of a workdir: the last few and the best.

    Each step is a folder with the items ``variables`` and ``optimizer``, arrays, and ``seal``,
    their checksums. Saving is asynchronous. A step whose restored values do not match
    its seal, or that cannot be read at all, is passed over with one line.
    """

    def __init__(self, root: pathlib.Path, score: str, keep: int = 2):
        """Opens the folder; it need not exist.

        Args:
            root: absolute path of the ``checkpoints`` folder.
            score: the metric, larger is better, by which the best checkpoint is kept.
            keep: how many of the last checkpoints are kept.
        """
        self._root = root
        best = checkpoint_managers.BestN(
            get_metric_fn=lambda metrics: metrics[score], n=1, keep_checkpoints_without_metrics=False
        )
        policy = checkpoint_managers.AnyPreservationPolicy([checkpoint_managers.LatestN(keep), best])
        self._manager = ocp.CheckpointManager(
            root,
            item_names=("variables", "optimizer", "seal"),
            options=ocp.CheckpointManagerOptions(
                best_fn=lambda metrics: metrics[score],
                preservation_policy=policy,
                enable_async_checkpointing=True,
                async_options=ocp.options.AsyncOptions(
                    barrier_sync_fn=SaveBarrier(f"save/{root}"),
                    # In a thread, a folder that cannot be made would hold the other processes of a job.
                    create_directories_asynchronously=False,
                ),
                create=False,
            ),
        )

    def steps(self) -> list[int]:
        """Returns the steps on disk, the newest first."""
        self._manager.reload()
        return sorted(self._manager.all_steps(), reverse=True)

    def save(self, state: TrainState, metrics: Mapping[str, float] | None) -> None:
        """Starts to save a state; ``wait`` returns when it is on disk.

        Args:
            state: it may be donated as soon as this returns.
            metrics: of this step, if it was evaluated: a candidate for the best.

        Raises:
            RunError: the folder holds this step or a later one.
        """
        seal = {"variables": checksum(state.variables), "optimizer": checksum(state.opt_state)}
        saved = self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                variables=ocp.args.StandardSave(state.variables),
                optimizer=ocp.args.StandardSave(state.opt_state),
                seal=ocp.args.JsonSave(seal),
            ),
            metrics=dict(metrics) if metrics else None,
        )
        if not saved:
            raise RunError(f"step {int(state.step)} was not saved: {self._root} has it or a later one")

    def wait(self) -> None:
        """Returns when all that was saved is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and gives the manager's threads back."""
        self._manager.close()

    def restore(self, shapes: Shapes, set_aside: pathlib.Path) -> TrainState | None:
        """Restores the newest state that is whole, or ``None`` where there are no checkpoints.

        Args:
            shapes: step -> shapes, dtypes and shardings to restore onto.
            set_aside: folder that damaged steps are moved to.

        Raises:
            RunError: there are checkpoints, and all are damaged.
        """
        steps = self.steps()
        for step in steps:
            state, damage = self._attempt(self._read, step, shapes(step))
            if not damage:
                return state
            if is_first():
                moved = _move_aside(self._root / str(step), set_aside)
                print(f"checkpoint {step} is damaged ({damage}); moved it to {moved}", flush=True)
            any_process(False)  # nobody looks for the next one before it is moved
            # Or the manager would take the step for saved and skip it, in silence, next time.
            self._manager.reload()
        if steps:
            raise RunError(
                f"all checkpoints of {self._root} were damaged, they are in {set_aside}: "
                "train in another workdir, or put one back"
            )
        return None

    def read_variables(self, shapes: Shapes, step: int | None = None) -> tuple[int, dict[str, Any]]:
        """Reads the network of a step, for commands that train nothing and change nothing.

        Args:
            shapes: step -> shapes, dtypes and shardings of the state.
            step: which; ``None`` for the newest that is whole.

        Returns:
            ``(step, variables)``.

        Raises:
            UserError: there is no such step, or none at all.
            RunError: it is damaged, or all are.
        """
        steps = self.steps()
        if not steps:
            raise UserError(f"{self._root} holds no checkpoint: train first")
        if step is not None and step not in steps:
            raise UserError(f"{self._root} holds no step {step}; it holds {', '.join(map(str, steps))}")
        for candidate in steps if step is None else [step]:
            wanted = shapes(candidate).variables
            variables, damage = self._attempt(self._read_item, candidate, "variables", wanted)
            if not damage:
                return candidate, variables
            print(f"checkpoint {candidate} is damaged ({damage}); passed over", flush=True)
        raise RunError(f"no checkpoint of {self._root} can be read")

    def _attempt(self, read: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
        """Returns what is read, and nothing; or ``None`` and what is wrong, in all processes of a job."""
        try:
            found, damage = read(*arguments), ""
        except Exception as error:  # what damage raises is not documented
            found, damage = None, _first_line(error)
        # What one process cannot read none of them goes on from.
        if any_process(bool(damage)):
            return None, damage or "another process cannot read it"
        return found, ""

    def _read(self, step: int, shapes: TrainState) -> TrainState:
        variables = self._read_item(step, "variables", shapes.variables)
        opt_state = self._read_item(step, "optimizer", shapes.opt_state)
        # Not device_put, which cannot reach the devices of other processes.
        number = jax.make_array_from_callback((), shapes.step.sharding, lambda _: np.array(step, np.int32))
        return TrainState(number, variables, opt_state)

    def _read_item(self, step: int, item: str, shapes: Any) -> Any:
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                **{item: ocp.args.StandardRestore(shapes), "seal": ocp.args.JsonRestore()}
            ),
        )
        if checksum(restored[item]) != restored["seal"][item]:
            raise ValueError(f"the checksum of its {item} is wrong")
        return restored[item]


def _move_aside(folder: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    target.mkdir(parents=True, exist_ok=True)
    moved = next(path for path in _numbered(target / folder.name) if not path.exists())
    return folder.rename(moved)


def _numbered(path: pathlib.Path) -> Iterator[pathlib.Path]:
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.name}-{number}")
        number += 1


def _first_line(error: Exception) -> str:
    """Returns what an error says in at most a line: Orbax writes pages."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 100 else text[:97] + "..."
