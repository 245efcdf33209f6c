"""What `benchmarks.research.extrapolation` trains: tasks, the recipe of all runs, and its commands."""

import pathlib
import runpy
import statistics
from typing import NamedTuple

from benchmarks.research import comparison
from softshare_jax.data import shortest_paths
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.runs.records import read_metrics
from softshare_jax.runs.workdir import Workdir

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "extrapolation.py"
_SCRIPT = runpy.run_path(str(CONFIG))
TURNS = (5, 10, 20, 32, 48, 68, 80, 120, 160, 200, 340, 680)
# Layers of the networks that are trained; the loop is discovered with as many as SCNN.
LAYERS = {"loop": 68, "scnn": 20, "cnn": 20}
# Steps of training the loop. Other durations keep their ratio to it, except that of the discovery.
STEPS = _SCRIPT["STEPS"]["loop"]
# Between the seeds of two loops that are trained from the same discovered one.
SEEDS = 1000
# Records of training that say which loop is the best; one alone is noisy.
LAST = 10


class Task(NamedTuple):
    """What is trained on, and what is measured.

    Attributes:
        sizes: (side, window): all pairs of the training grids, then larger grids, same or longer paths.
        turns: after which the loop is measured.
        animated: index of the size of the animation.
        generator: makes the obstacles.
        fields: fields of the config that make the task.
        loop: fields of the config for training the loop; flags may set others.
        output: default folder of the results.
    """

    sizes: tuple[tuple[int, int], ...]
    turns: tuple[int, ...]
    animated: int
    generator: shortest_paths.Generator
    fields: dict[str, object]
    loop: dict[str, object]
    output: str


TASKS = {
    "grids": Task(
        sizes=((12, 23), (16, 31), (24, 47), (32, 31), (32, 63), (64, 127)),
        turns=TURNS,
        animated=-1,
        generator="random",
        fields={},
        loop={},
        output="runs/extrapolation",
    ),
    # Some of the sizes of Schwarzschild et al. 2021, arXiv 2106.04537.
    "mazes": Task(
        sizes=((9, 17), (13, 25), (25, 49), (33, 65), (59, 117)),
        turns=(*TURNS, 1360, 2720),
        animated=2,
        generator="maze",
        fields={"data.generator": "maze", "data.side": 9, "data.windows": (5, 9, 17)},
        loop={"loop.swap_rate": 0.5, "loop.window": 40},
        output="runs/extrapolation-mazes",
    ),
}


class Recipe(NamedTuple):
    """How all runs are trained.

    Attributes:
        task: what they are trained on.
        channels: of the state.
        steps: of training the loop.
        more: flags of other fields of the config.
        loops: trained from each discovered loop, with other random numbers; the best in training counts.
    """

    task: Task
    channels: int
    steps: int
    more: tuple[str, ...] = ()
    loops: int = 1

    @property
    def fixed(self) -> set[str]:
        """The fields of the config that no flag may set."""
        return {"model", "seed", "duration", "data.phase", "data.split_points", *self.task.fields}

    def model(self, variant: str) -> str:
        """Returns the network of a variant of the config."""
        family, _, _ = _SCRIPT["get_config"](variant).model.rpartition("-")
        return f"{family}-{self.channels}"

    def flags(self, variant: str, seed: int) -> list[str]:
        """Returns the flags of a variant of the config; its durations keep their ratio to the steps."""
        config = _SCRIPT["get_config"](variant)
        # A loop is discovered in the steps of the config.
        steps = STEPS if variant == "discover" else self.steps
        fields = {
            "model": self.model(variant),
            "seed": seed,
            "data.phase": scaled(config.data.phase, steps),
            "duration": scaled(config.duration, steps),
            **self.task.fields,
            **self.task.loop,
        }
        return [f"--config={CONFIG}:{variant}", *comparison.flags(fields), *self.more]


def train(output: pathlib.Path, network: str, seed: int, recipe: Recipe) -> Workdir:
    """Trains or resumes one run through the commands, and returns its workdir.

    Of several loops it is the workdir of the one with the lowest loss at the end of training, so nothing
    but the grids of training chooses.
    """
    if network == "loop":
        loops = [train_loop(output, seed, number, recipe) for number in range(recipe.loops)]
        return min(loops, key=final_loss)
    workdir = Workdir(output / f"{network}-{seed}")
    comparison.run("main", f"--workdir={workdir.root}", *recipe.flags(network, seed))
    return workdir


def train_loop(output: pathlib.Path, seed: int, number: int, recipe: Recipe) -> Workdir:
    """Trains or resumes one of the loops of a seed; the first one has the folder and seed of its own."""
    target = output / f"loop-{seed}{f'-{number}' if number else ''}"
    fields, layers = recipe.flags("loop", seed + SEEDS * number), LAYERS["loop"]
    if not target.exists():
        folded = discover(output, seed, recipe)
        comparison.run(
            "convert", f"--folded={folded.root}", f"--layers={layers}", f"--output={target}", *fields
        )
    model = zoo.at_depth(recipe.model("loop"), layers)
    comparison.run("main", f"--workdir={target}", *fields, f"--config.model={model}")
    return Workdir(target)


def final_loss(workdir: Workdir) -> float:
    """Returns the mean of the last losses that a run has logged in training."""
    losses = [record["train/loss"] for record in read_metrics(workdir.metrics_file) if "train/loss" in record]
    return statistics.mean(losses[-LAST:])


def discover(output: pathlib.Path, seed: int, recipe: Recipe) -> Workdir:
    """Trains the network that becomes a loop, folds it, and returns the folded workdir.

    Raises:
        UserError: its layers did not become one.
    """
    found, folder = Workdir(output / f"discovered-{seed}"), output / f"folded-{seed}"
    if not folder.exists():
        comparison.run("main", f"--workdir={found.root}", *recipe.flags("discover", seed))
    folded = comparison.fold(found, folder, "--tied")
    (group,) = folded.read_plan().groups
    if group.templates > 1:
        raise UserError(f"the layers of {folder} did not become one loop: try another seed")
    return folded


def scaled(duration: str, steps: int) -> str:
    """Returns a duration in steps, such as ``'250 steps'``, given the steps of training as a loop."""
    return f"{max(1, int(duration.split()[0]) * steps // STEPS)} steps"
