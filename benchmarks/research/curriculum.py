"""The paper's comparison of CNN, SCNN and SCNN-R over five phases of growing windows.

    python -m benchmarks.research.curriculum --scale=laptop --output=runs/curriculum

Trains each variant of configs/shortest_paths.py with several seeds. Measures how fast they adapt to each
phase, how they end, and what they do beyond the last window and on larger grids. Writes into the output:
table.md, beyond.md, curriculum.png (F1 over steps) and curriculum-similarity.png (the layers of SCNN and
SCNN-R, seed 0). Interrupted runs resume. ``--scale=paper`` trains 39,000 steps of 20 layers, as the config
does, on smaller grids: 40 minutes a run on one core.
"""

import argparse
import io
import math
import pathlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from matplotlib.figure import Figure

from benchmarks.research import comparison
from softshare_jax import durable, sharing
from softshare_jax.config import ShortestPaths
from softshare_jax.data import shortest_paths
from softshare_jax.runs.load import load
from softshare_jax.runs.records import read_metrics, read_similarity
from softshare_jax.runs.workdir import Workdir
from softshare_jax.shell import cli
from softshare_jax.training import randomness

VARIANTS = ("cnn", "scnn", "scnn-r")
COLORS = {"cnn": "#777777", "scnn": "#1f77b4", "scnn-r": "#d1495b"}


class Scale(NamedTuple):
    """How much of the paper's setting is trained.

    Attributes:
        network: name of the unshared network.
        windows: sides of the windows, a phase each.
        phase: steps of a phase.
        every: steps between evaluations.
        adapting: evaluations at the start of a phase whose mean measures adaptation.
        beyond: (side, window) of grids beyond those of training.
        settings: other fields of the config.
    """

    network: str
    windows: tuple[int, ...]
    phase: int
    every: int
    adapting: int
    beyond: tuple[tuple[int, int], ...]
    settings: dict[str, object]

    @property
    def steps(self) -> int:
        """Steps of a run."""
        return self.phase * len(self.windows)

    def fields(self, variant: str, seed: int) -> dict[str, object]:
        """Returns the fields of the config of a run."""
        return {
            "model": self.network if variant == "cnn" else f"s{self.network}",
            "seed": seed,
            "data.side": 16,
            "data.windows": self.windows,
            "data.phase": f"{self.phase} steps",
            "duration": f"{self.steps} steps",
            "log_every": f"{self.every} steps",
            "evaluate_every": f"{self.every} steps",
            **self.settings,
        }


SCALES = {
    "laptop": Scale(
        network="cnn-10-24",
        windows=(5, 7, 9, 11, 13),
        phase=250,
        every=25,
        adapting=4,
        beyond=((16, 31), (32, 13), (32, 31)),
        settings={
            "data.train_examples": 2000,
            "optimizer.learning_rate": 0.003,
            "checkpoint_every": "250 steps",
        },
    ),
    # 50 epochs of 5,000 examples in batches of 32, rounded to 20 evaluations.
    "paper": Scale(
        network="cnn-20-16",
        windows=(5, 9, 13, 17, 21),
        phase=7800,
        every=390,
        adapting=2,
        beyond=((16, 31), (32, 21), (32, 31)),
        settings={"checkpoint_every": "390 steps"},
    ),
}


def main() -> None:
    """Trains all incomplete runs, then reports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", default="laptop", choices=SCALES, help="how much is trained")
    parser.add_argument("--output", default="runs/curriculum", help="folder of the runs and results")
    parser.add_argument("--seeds", type=comparison.positive, default=3, help="runs per variant")
    parser.add_argument("--jobs", type=comparison.positive, default=1, help="runs at a time")
    parser.add_argument("--examples", type=comparison.positive, default=200, help="new grids of each size")
    arguments = parser.parse_args()
    scale, output = SCALES[arguments.scale], pathlib.Path(arguments.output)
    runs = [(scale, output, variant, seed) for seed in range(arguments.seeds) for variant in VARIANTS]
    found: dict[str, list[Workdir]] = {variant: [] for variant in VARIANTS}
    trained = comparison.in_parallel(arguments.jobs, train, runs)
    for (_, _, variant, _), run in zip(runs, trained, strict=True):
        found[variant].append(run)
    comparison.show(output / "table.md", table(scale, found))
    shared = {variant.upper(): found[variant][0] for variant in VARIANTS if variant != "cnn"}
    panel = comparison.similarity_over_time("curriculum-similarity.png", shared, scale.steps)
    durable.write(output / panel.file, panel.content)
    durable.write(output / "curriculum.png", curves(scale, found))
    comparison.show(output / "beyond.md", table_beyond(scale, found, arguments.examples))


def train(scale: Scale, output: pathlib.Path, variant: str, seed: int) -> Workdir:
    """Trains or resumes one run."""
    fields = scale.fields(variant, seed)
    return comparison.train(f"shortest_paths:{variant}", output / f"{variant}-{seed}", fields)


def read_curve(run: Workdir) -> dict[int, float]:
    """Returns F1 on held-out examples of the current phase, by step."""
    return {r["step"]: r["eval/f1"] for r in read_metrics(run.metrics_file) if "eval/f1" in r}


def table(scale: Scale, found: dict[str, list[Workdir]]) -> str:
    """Returns a Markdown table: mean and spread over seeds."""
    head = [f"adapting to {w}x{w}" for w in scale.windows]
    lines = ["| network | " + " | ".join(head) + " | end of the last phase | mean LSM |"]
    lines.append("|" + "---|" * (len(head) + 3))
    # A single evaluation is noisy at a constant learning rate.
    end = range(scale.steps - 3 * scale.every, scale.steps + 1, scale.every)
    spans = [
        range(start + scale.every, start + scale.adapting * scale.every + 1, scale.every)
        for start in range(0, scale.steps, scale.phase)
    ]
    for variant, runs in found.items():
        scores = [read_curve(run) for run in runs]
        measured = [[statistics.mean(c[step] for step in steps) for c in scores] for steps in (*spans, end)]
        measured.append([mean_similarity(run) for run in runs])
        cells = (comparison.spread(values, 3) for values in measured)
        lines.append(f"| {variant.upper()} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def table_beyond(scale: Scale, found: dict[str, list[Workdir]], examples: int) -> str:
    """Returns a Markdown table of F1 on grids beyond those of training: mean and spread over seeds."""
    head = [f"{side}x{side}, window {window}" for side, window in scale.beyond]
    lines = ["| network | " + " | ".join(head) + " |", "|---|" + "---|" * len(head)]
    grids = []
    for side, window in scale.beyond:
        key = randomness.stream(0, "beyond", side * 1000 + window)
        grids.append(shortest_paths.generate(key, examples, side, ShortestPaths().density, window))
    for variant, runs in found.items():
        measured = zip(*(scores_beyond(run, grids) for run in runs), strict=True)
        cells = (comparison.spread(values, 3) for values in measured)
        lines.append(f"| {variant.upper()} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def scores_beyond(run: Workdir, grids: Sequence[Mapping[str, np.ndarray]]) -> Iterator[float]:
    """Yields F1 of a run on each set of grids."""
    trained = load(run)
    dense = sharing.to_dense(trained.experiment.plan, trained.variables)
    network = cast(Any, trained.experiment.network)
    marked = jax.jit(lambda images: network.apply(dense, images) > 0)
    for data in grids:
        # Few at a time, or large grids take much memory.
        parts = (data["images"][at : at + 50] for at in range(0, len(data["images"]), 50))
        found = np.concatenate([marked(part.astype(np.float32)) for part in parts])
        yield comparison.f1(found, data["labels"] > 0)


def mean_similarity(run: Workdir) -> float:
    """Returns the mean off-diagonal entry of the last coefficient LSM, or NaN without sharing."""
    history = read_similarity(run)
    if not history:
        return float("nan")
    (matrix,) = history[max(history)]["coefficients"].values()
    return float(matrix[~np.eye(len(matrix), dtype=bool)].mean())


def curves(scale: Scale, found: dict[str, list[Workdir]]) -> bytes:
    """Draws F1 over steps: seeds as thin lines, their mean as a bold line, phases as bands."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.add_subplot()
    for phase, window in enumerate(scale.windows):
        start = phase * scale.phase
        if phase % 2:
            axes.axvspan(start, start + scale.phase, color="#f1efe9", zorder=0)
        middle, above = start + scale.phase / 2, axes.get_xaxis_transform()
        axes.text(middle, 1.02, f"{window}×{window}", ha="center", fontsize=9, transform=above)
    lowest = 1.0
    for variant, runs in found.items():
        drawn = [read_curve(run) for run in runs]
        steps = sorted(drawn[0])
        lowest = min(lowest, *(min(curve.values()) for curve in drawn))
        for curve in drawn:
            axes.plot(steps, [curve[step] for step in steps], color=COLORS[variant], lw=0.6, alpha=0.5)
        mean = [statistics.mean(curve[step] for curve in drawn) for step in steps]
        axes.plot(steps, mean, color=COLORS[variant], lw=2, label=variant.upper())
    # The first steps of a short run are far below the rest.
    limits = (max(0.5, math.floor(20 * lowest) / 20), 1)
    axes.set(xlabel="step", ylabel="F1, held-out examples of the phase", ylim=limits, xlim=(0, max(steps)))
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, dpi=150)
    return content.getvalue()


if __name__ == "__main__":
    cli.run(main)
