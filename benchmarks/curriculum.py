"""The paper's comparison of CNN, SCNN and SCNN-R over five phases of growing windows.

    python -m benchmarks.curriculum --scale=laptop --output=runs/curriculum

Trains each variant of configs/shortest_paths.py with several seeds, prints the table of docs/results.md
and draws the figure beside it. Interrupted runs resume. ``--scale=paper`` trains 39,000 steps of 20
layers, as the config does, on smaller grids: 40 minutes a run on one core.
"""

import argparse
import pathlib
import statistics
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from benchmarks import comparison
from softshare_jax.runs.records import read_metrics, read_similarity
from softshare_jax.runs.workdir import Workdir
from softshare_jax.shell import cli

REPO = pathlib.Path(__file__).parents[1]
COLORS = {"cnn": "#777777", "scnn": "#1f77b4", "scnn-r": "#d1495b"}
VARIANTS = ("cnn", "scnn", "scnn-r")


class Scale(NamedTuple):
    """How much of the paper's setting is trained.

    Attributes:
        network: name of the unshared network.
        windows: sides of the windows, a phase each.
        phase: steps of a phase.
        every: steps between evaluations.
        adapting: evaluations at the start of a phase whose mean measures adaptation.
        figure: the figure in docs/figures.
        settings: other fields of the config.
    """

    network: str
    windows: tuple[int, ...]
    phase: int
    every: int
    adapting: int
    figure: str
    settings: dict[str, object]

    @property
    def steps(self) -> int:
        """Steps of a run."""
        return self.phase * len(self.windows)

    def flags(self, variant: str, seed: int) -> list[str]:
        """Returns the flags of a run."""
        fields = {
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
        return comparison.flags(fields)


SCALES = {
    "laptop": Scale(
        network="cnn-10-24",
        windows=(5, 7, 9, 11, 13),
        phase=250,
        every=25,
        adapting=4,
        figure="curriculum.png",
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
        figure="curriculum-paper.png",
        settings={"checkpoint_every": "390 steps"},
    ),
}


def main() -> None:
    """Trains all incomplete runs, then reports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", default="laptop", choices=SCALES, help="how much is trained")
    parser.add_argument("--output", default="runs/curriculum", help="folder for the workdirs")
    parser.add_argument("--seeds", type=comparison.positive, default=3, help="runs per variant")
    parser.add_argument("--jobs", type=comparison.positive, default=1, help="runs at a time")
    arguments = parser.parse_args()
    scale, root = SCALES[arguments.scale], pathlib.Path(arguments.output)
    runs = [(scale, root, variant, seed) for seed in range(arguments.seeds) for variant in VARIANTS]
    list(comparison.in_parallel(arguments.jobs, train, runs))
    found = {
        variant: [Workdir(root / f"{variant}-{s}") for s in range(arguments.seeds)] for variant in VARIANTS
    }
    print(table(scale, found))
    draw(scale, found, REPO / "docs" / "figures" / scale.figure)


def train(scale: Scale, root: pathlib.Path, variant: str, seed: int) -> None:
    """Trains or resumes one run through the command line."""
    config = REPO / "configs" / f"shortest_paths.py:{variant}"
    comparison.run(
        "main", f"--config={config}", f"--workdir={root / f'{variant}-{seed}'}", *scale.flags(variant, seed)
    )


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
        curves = [read_curve(run) for run in runs]
        measured = [[statistics.mean(c[step] for step in steps) for c in curves] for steps in (*spans, end)]
        measured.append([mean_similarity(run) for run in runs])
        cells = (comparison.spread(values, 3) for values in measured)
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mean_similarity(run: Workdir) -> float:
    """Returns the mean off-diagonal entry of the last coefficient LSM, or NaN without sharing."""
    history = read_similarity(run)
    if not history:
        return float("nan")
    (matrix,) = history[max(history)]["coefficients"].values()
    return float(matrix[~np.eye(len(matrix), dtype=bool)].mean())


def draw(scale: Scale, found: dict[str, list[Workdir]], file: pathlib.Path) -> None:
    """Draws F1 over steps: seeds as thin lines, their mean as a bold line, phases as bands."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.add_subplot()
    for phase, window in enumerate(scale.windows):
        start = phase * scale.phase
        if phase % 2:
            axes.axvspan(start, start + scale.phase, color="#f1efe9", zorder=0)
        axes.text(start + scale.phase / 2, 1.01, f"{window}×{window}", ha="center", fontsize=9)
    for variant, runs in found.items():
        curves = [read_curve(run) for run in runs]
        steps = sorted(curves[0])
        for curve in curves:
            axes.plot(steps, [curve[step] for step in steps], color=COLORS[variant], lw=0.6, alpha=0.5)
        mean = [statistics.mean(curve[step] for curve in curves) for step in steps]
        axes.plot(steps, mean, color=COLORS[variant], lw=2, label=variant.upper())
    axes.set(xlabel="step", ylabel="F1, held-out examples of the phase", ylim=(0.5, 1), xlim=(0, max(steps)))
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    cli.run(main)
