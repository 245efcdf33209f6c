"""A discovered loop runs longer: F1 on grids larger than those of training, over the number of turns.

    python -m benchmarks.research.extrapolation --output=runs/extrapolation

For each seed it trains configs/extrapolation.py: the loop (discover, fold, train as a longer loop), the
unshared network and SCNN. It measures them on grids of several sizes after several numbers of layers, the
loop also beyond its own. It writes into the output: rows.jsonl, table.md, turns.svg, and solved.gif, in
which the loop with the highest F1 at home solves a large grid turn by turn. Interrupted runs resume, and
rows that are there are not measured again.

``--task=mazes`` trains on 9x9 mazes and measures on larger ones. Fields of the config, such as
``--config.batch_size=128``, apply to all runs.
"""

import argparse
import contextlib
import pathlib
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from benchmarks.research import comparison
from benchmarks.research.extrapolation_runs import LAYERS, STEPS, TASKS, TURNS, Recipe, Task, train
from softshare_jax import durable, sharing
from softshare_jax.data import shortest_paths
from softshare_jax.reporting import chart, theme
from softshare_jax.runs.load import Trained, load
from softshare_jax.shell import cli
from softshare_jax.training import randomness

NETWORKS = ("loop", "scnn", "cnn")
# Examples at a time: at most this many pixels.
PIXELS = 2**17
SCALE = 6


class Row(NamedTuple):
    """A measurement: F1 over all pixels, and the fraction of grids without a wrong pixel."""

    network: str
    seed: int
    side: int
    window: int
    layers: int
    f1: float
    exact: float


def main() -> None:
    """Trains what is not trained, measures what is not measured, and writes the output."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", help="folder of the runs and results (default: runs/extrapolation)")
    parser.add_argument("--seeds", type=comparison.positive, default=1, help="runs of each network")
    parser.add_argument(
        "--steps", type=comparison.positive, default=STEPS, help="steps of training as a loop"
    )
    parser.add_argument("--examples", type=comparison.positive, default=100, help="test grids of each size")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--task", default="grids", choices=TASKS)
    parser.add_argument("--channels", type=comparison.positive, default=24, help="channels of the state")
    parser.add_argument(
        "--loops", type=comparison.positive, default=1, help="loops of each seed; the best in training counts"
    )
    parser.add_argument("--jobs", type=comparison.positive, default=1, help="runs at a time")
    arguments, more = parser.parse_known_args()
    task = TASKS[arguments.task]
    output = pathlib.Path(arguments.output or task.output)
    recipe = Recipe(task, arguments.channels, arguments.steps, tuple(more), arguments.loops)
    if wrong := [text for text in more if not text.startswith("--config.")]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    if fixed := [text for text in more if text.removeprefix("--config.").partition("=")[0] in recipe.fixed]:
        parser.error(f"the benchmark sets these fields by itself: {' '.join(fixed)}")
    file = output / "rows.jsonl"
    runs = [
        (output, network, seed, recipe) for seed in range(arguments.seeds) for network in arguments.networks
    ]
    settings = {"examples": arguments.examples, "loops": arguments.loops}
    comparison.check_settings(file, comparison.read(file), settings)
    loops = {}
    with contextlib.closing(comparison.in_parallel(arguments.jobs, train, runs)) as workdirs:
        for (_, network, seed, _), workdir in zip(runs, workdirs, strict=True):
            if network == "loop":
                loops[seed] = workdir
            rows = read(file)
            sizes = [s for s in task.sizes if not any(row[:4] == (network, seed, *s) for row in rows)]
            if not sizes:
                continue
            trained = load(workdir)
            for side, window in sizes:
                print(f"measuring {network}-{seed} on {side}x{side}, window {window}", flush=True)
                rows += measure(trained, network, seed, task, (side, window), arguments.examples)
                comparison.write(file, (row._asdict() | settings for row in rows))
    rows = read(file)
    text = table(rows, task)
    durable.write(output / "table.md", text.encode())
    durable.write(output / "turns.svg", figure(rows, task))
    if "loop" in arguments.networks:
        seed = best_seed([row for row in rows if row.seed in loops], task)
        animate(load(loops[seed]), task, output / "solved.gif")
    print(text)


def read(file: pathlib.Path) -> list[Row]:
    """Returns the rows that were measured before."""
    return [Row(*(row[name] for name in Row._fields)) for row in comparison.read(file)]


def measure(
    trained: Trained, network: str, seed: int, task: Task, size: tuple[int, int], examples: int
) -> list[Row]:
    """Measures a run on new grids of a size, after several numbers of layers.

    A loop runs for longer than its own number of layers. Other networks answer after these at most.
    """
    turns = task.turns if network == "loop" else [turn for turn in TURNS if turn <= LAYERS[network]]
    side, window = size
    data = grids(examples, side, window, task.generator)
    labels = data["labels"] > 0
    marked = solve(trained, data["images"], turns)
    rows = []
    for turn, found in zip(turns, marked, strict=True):
        f1, exact = comparison.f1(found, labels), float((found == labels).all((1, 2)).mean())
        rows.append(Row(network, seed, side, window, turn, round(f1, 4), round(exact, 4)))
    return rows


def grids(number: int, side: int, window: int, generator: shortest_paths.Generator) -> dict[str, np.ndarray]:
    """Returns test grids of a size, which no run was trained on."""
    key = randomness.stream(0, "extrapolation", side * 1000 + window)
    return shortest_paths.generate(key, number, side, 0.1, window, True, generator)


def solve(trained: Trained, images: np.ndarray, turns: Sequence[int]) -> np.ndarray:
    """Returns the pixels that a network marks after each number of layers, ``[T, N, H, W]`` bool.

    Layers beyond those of a network repeat its last one, which is what ``sharing.lengthen`` makes of a loop.
    """
    dense = sharing.to_dense(trained.experiment.plan, trained.variables)
    network = cast(Any, trained.experiment.network)
    layers = sharing.distinct_layers(trained.experiment.plan, trained.variables).values()
    loop = any(len(set(group)) == 1 for group in layers)
    # The layers of a loop are alike, and one program runs them all.
    layer_at = (lambda turn: 0) if loop else (lambda turn: turn)
    start = jax.jit(lambda images: network.apply(dense, images, method="start"))
    advance = jax.jit(
        lambda layer, state, images: network.apply(dense, layer, state, images, method="advance"),
        static_argnums=0,
    )
    answer = jax.jit(lambda state: network.apply(dense, state, method="answer") > 0)

    def run(part: np.ndarray) -> np.ndarray:
        inputs = jnp.asarray(part, jnp.float32)
        state, found = start(inputs), []
        for turn in range(max(turns)):
            state = advance(layer_at(turn), state, inputs)
            if turn + 1 in turns:
                found.append(np.asarray(answer(state)))
        return np.stack(found)

    size = max(1, PIXELS // images[0, ..., 0].size)
    return np.concatenate([run(images[at : at + size]) for at in range(0, len(images), size)], axis=1)


def table(rows: Iterable[Row], task: Task) -> str:
    """Returns a Markdown table of F1, mean over seeds; the number of layers is in parentheses."""
    head = ["grid, window", "unshared", "SCNN", "loop", "loop at its best", "loop, most turns"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for side, window in task.sizes:
        here = [row for row in rows if row.side == side and row.window == window]
        shown = [*((name, LAYERS[name]) for name in ("cnn", "scnn", "loop")), ("loop", best(here))]
        cells = [cell(here, *one) for one in (*shown, ("loop", max(task.turns)))]
        lines.append(f"| {side}x{side}, {window} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def best_seed(rows: Sequence[Row], task: Task) -> int:
    """Returns the seed whose loop has the highest F1 on grids of training, after the turns of training."""
    home = [row for row in rows if row[2:5] == (*task.sizes[0], LAYERS["loop"]) and row.network == "loop"]
    return max(home, key=lambda row: row.f1).seed


def best(rows: Sequence[Row]) -> int:
    """Returns the number of turns after which the loop has the highest mean F1."""
    found = {row.layers for row in rows if row.network == "loop"}
    return max(found, key=lambda layers: mean(rows, layers), default=LAYERS["loop"])


def mean(rows: Iterable[Row], layers: int) -> float:
    """Returns the mean F1 of the loop over seeds."""
    return statistics.mean(row.f1 for row in rows if (row.network, row.layers) == ("loop", layers))


def cell(rows: Iterable[Row], network: str, layers: int) -> str:
    """Returns mean F1 and, over several seeds, its deviation; a dash if it was not measured."""
    values = [row.f1 for row in rows if (row.network, row.layers) == (network, layers)]
    return f"{comparison.spread(values, 3)} ({layers})" if values else "–"


def figure(rows: Sequence[Row], task: Task) -> bytes:
    """Draws F1 of the loop over the number of turns, a line for each size of grids.

    A size is "near" if its window is smaller than the grid.
    """
    lines = []
    for place, (side, window) in enumerate(task.sizes):
        here = [row for row in rows if row[2:4] == (side, window)]
        turns = sorted({row.layers for row in here if row.network == "loop"})
        if turns:
            points = [(turn, mean(here, turn)) for turn in turns]
            label = str(side) if window > side else f"{side} near"
            lines.append(chart.Line(label, f"c{place}", points, LAYERS["loop"]))
    return (
        chart.curves("turns", "F1 of the loop, by side of the grid", "turn", lines).content if lines else b""
    )


def animate(trained: Trained, task: Task, file: pathlib.Path) -> None:
    """Draws how a loop solves a large grid: after each turn, the pixels that it marks as a path.

    Of 40 grids it is the one where the loop finds the most pixels of paths, less the pixels that are wrong.
    """
    data = grids(40, *task.sizes[task.animated], task.generator)
    labels = data["labels"] > 0
    turns = [*range(1, 41), *range(42, 121, 2)]
    marked = solve(trained, data["images"], turns)
    gain = np.sum(marked & labels, (2, 3)) - np.sum(marked & ~labels, (2, 3))
    index = int(gain.max(axis=0).argmax())
    frames = [frame(data["images"][index], labels[index], found) for found in marked[:, index]]
    frames[0].save(
        file, save_all=True, append_images=frames[1:], duration=[80] * (len(frames) - 1) + [3000], loop=0
    )


def frame(image: np.ndarray, label: np.ndarray, found: np.ndarray) -> Image.Image:
    """Draws a grid: obstacles, pixels that are right, wrong and missed, and both points."""
    kinds = ("surface", "wall", "right", "wrong", "line", "target")
    drawn = np.zeros(label.shape, np.uint8)
    drawn[label & ~found] = kinds.index("line")
    drawn[image[..., -1] > 0] = kinds.index("wall")
    drawn[label & found] = kinds.index("right")
    drawn[found & ~label] = kinds.index("wrong")
    drawn[image[..., :-1].any(axis=-1)] = kinds.index("target")
    colors = theme.variables()
    picture = Image.fromarray(drawn, "P")
    picture.putpalette([part for kind in kinds for part in theme.rgb(colors[kind])])
    return picture.resize((label.shape[1] * SCALE, label.shape[0] * SCALE), Image.Resampling.NEAREST)


if __name__ == "__main__":
    cli.run(main)
