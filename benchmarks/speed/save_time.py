"""The cost of durability: seconds of a save, and seconds that training waits for it.

    python -m benchmarks.speed.save_time --model=swrn-28-10-2 --pairs=20

Alternates saves of ``Checkpoints`` with saves of the same arrays by Orbax's ``CheckpointManager``. The latter
flushes only array data. It also keeps the last two steps and the best, with a checksum of both items.
"""

import logging
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from benchmarks.runs import experiment, machine, parser
from softshare_jax.storage.checkpoints import Checkpoints
from softshare_jax.training.checksum import checksum
from softshare_jax.training.experiment import Experiment
from softshare_jax.training.stages import Stages
from softshare_jax.training.steps import TrainState


class Seconds(NamedTuple):
    """Seconds of a save: until training continues, and until the save is complete."""

    blocked: float
    total: float


def main() -> None:
    """Measures and prints."""
    flags = parser(__doc__)
    flags.add_argument("--model", default="swrn-28-10-2")
    flags.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path(), help="folder on the disk to time"
    )
    arguments = flags.parse_args()
    logging.getLogger("absl").setLevel(logging.ERROR)
    run = experiment(arguments.model)
    state = made_up(run)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    with tempfile.TemporaryDirectory(dir=arguments.output.absolute()) as name:
        root = pathlib.Path(name)
        writers = {"Orbax's manager": by_orbax(root / "orbax", run), "durable": by_us(root / "durable", run)}
        turns = []
        for step in range(1, arguments.pairs + 2):
            turns.append({key: timed(writer, state.replace(step=step)) for key, writer in writers.items()})
    print(machine())
    print(f"{arguments.model}, {size / 1e6:.0f} MB, {arguments.pairs} pairs of saves")
    print("  seconds, median (quartiles)")
    for key in writers:
        for what in Seconds._fields:
            # The first save compiles.
            found = [getattr(turn[key], what) for turn in turns[1:]]
            low, median, high = statistics.quantiles(found, n=4)
            print(f"  {key:16} {what:8} {median:.3f} ({low:.3f} to {high:.3f})")


def made_up(run: Experiment) -> TrainState:
    """Returns a state of random numbers, which cannot be compressed."""
    random = np.random.default_rng(0)

    def numbers(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.asarray(random.standard_normal(leaf.shape).astype(leaf.dtype))

    return jax.tree.map(numbers, run.programs.state_shapes())


def by_us(root: pathlib.Path, run: Experiment) -> Callable[[TrainState], Callable[[], None]]:
    """Returns a function that starts a save and returns a function that waits for its end."""
    checkpoints = Checkpoints(root, Stages(run))

    def save(state: TrainState) -> Callable[[], None]:
        checkpoints.save(state, {"target/accuracy": 0.5})
        return checkpoints.wait

    return save


def by_orbax(root: pathlib.Path, run: Experiment) -> Callable[[TrainState], Callable[[], None]]:
    """Returns the same for Orbax's manager."""

    def score(metrics: dict[str, float]) -> float:
        return metrics["target/accuracy"]

    best = checkpoint_managers.BestN(get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False)
    latest = checkpoint_managers.LatestN(run.config.keep_checkpoints)
    manager = ocp.CheckpointManager(
        root,
        item_names=("variables", "optimizer", "seal"),
        options=ocp.CheckpointManagerOptions(
            best_fn=score, preservation_policy=checkpoint_managers.AnyPreservationPolicy([latest, best])
        ),
    )

    def save(state: TrainState) -> Callable[[], None]:
        items = {"variables": state.variables, "optimizer": state.opt_state}
        seal = {name: checksum(tree) for name, tree in items.items()}
        arrays = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
        manager.save(
            int(state.step),
            args=ocp.args.Composite(**arrays, seal=ocp.args.JsonSave(seal)),
            metrics={"target/accuracy": 0.5},
        )
        return manager.wait_until_finished

    return save


def timed(save: Callable[[TrainState], Callable[[], None]], state: TrainState) -> Seconds:
    """Returns the seconds of one save."""
    begin = time.perf_counter()
    wait = save(state)
    blocked = time.perf_counter() - begin
    wait()
    return Seconds(blocked, time.perf_counter() - begin)


if __name__ == "__main__":
    main()
