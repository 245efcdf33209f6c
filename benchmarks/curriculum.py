"""The paper's comparison of CNN, SCNN and SCNN-R, on a small curriculum for a laptop.

    python benchmarks/curriculum.py --output=runs/curriculum

Trains each variant of configs/shortest_paths.py with several seeds, prints the table of docs/results.md
and draws docs/figures/curriculum.png. Interrupted runs resume.
"""

import argparse
import concurrent.futures
import pathlib
import statistics
import subprocess
import sys

import numpy as np
from matplotlib.figure import Figure

from softshare_jax.runs.records import read_metrics, read_similarity
from softshare_jax.runs.workdir import Workdir

REPO = pathlib.Path(__file__).parents[1]
COLORS = {"cnn": "#777777", "scnn": "#1f77b4", "scnn-r": "#d1495b"}
PHASE_STEPS = 250
WINDOWS = (5, 7, 9, 11, 13)
SETTING = {
    "data.side": 16,
    "data.windows": WINDOWS,
    "data.phase": f"{PHASE_STEPS} steps",
    "data.train_examples": 2000,
    "data.test_examples": 1000,
    "optimizer.learning_rate": 0.003,
    "duration": f"{PHASE_STEPS * len(WINDOWS)} steps",
    "log_every": "25 steps",
    "evaluate_every": "25 steps",
    "checkpoint_every": "250 steps",
}
MODELS = {"cnn": "cnn-10-24", "scnn": "scnn-10-24", "scnn-r": "scnn-10-24"}


def main() -> None:
    """Trains all incomplete runs, then reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="runs/curriculum", help="folder for the workdirs")
    parser.add_argument("--seeds", type=int, default=3, help="runs per variant")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    arguments = parser.parse_args()
    root = pathlib.Path(arguments.output)
    runs = [(variant, seed) for seed in range(arguments.seeds) for variant in MODELS]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(lambda run: train(root, *run), runs))
    curves = {v: [read_curve(workdir(root, v, s)) for s in range(arguments.seeds)] for v in MODELS}
    print_table(root, curves)
    draw(curves, REPO / "docs" / "figures" / "curriculum.png")


def workdir(root: pathlib.Path, variant: str, seed: int) -> Workdir:
    """Returns the workdir of a run."""
    return Workdir(root / f"{variant}-{seed}")


def train(root: pathlib.Path, variant: str, seed: int) -> None:
    """Trains or resumes one run through the command line."""
    target = workdir(root, variant, seed)
    flags = {**SETTING, "model": MODELS[variant], "seed": seed}
    subprocess.run(
        [
            *(sys.executable, "-m", "softshare_jax.main", f"--config=configs/shortest_paths.py:{variant}"),
            f"--workdir={target.root}",
            *(f"--config.{name}={value}" for name, value in flags.items()),
        ],
        cwd=REPO,
        check=True,
    )


def read_curve(run: Workdir) -> dict[int, float]:
    """Returns F1 on held-out examples of the current phase, by step."""
    return {r["step"]: r["eval/f1"] for r in read_metrics(run.metrics_file) if "eval/f1" in r}


def print_table(root: pathlib.Path, curves: dict[str, list[dict[int, float]]]) -> None:
    """Prints a Markdown table: mean and spread over seeds."""
    head = [f"adapting to {w}x{w}" for w in WINDOWS]
    print("| network | " + " | ".join(head) + " | end of the last phase | mean LSM |")
    print("|" + "---|" * (len(head) + 3))
    for variant, runs in curves.items():
        cells = []
        for phase in range(len(WINDOWS)):
            # Speed of adaptation: mean F1 over the first 100 steps of a phase.
            steps = range(phase * PHASE_STEPS + 25, phase * PHASE_STEPS + 101, 25)
            cells.append(spread([statistics.mean(run[step] for step in steps) for run in runs]))
        last = PHASE_STEPS * len(WINDOWS)
        # Average the last four evaluations, because a single one is noisy at a constant learning rate.
        cells.append(spread([statistics.mean(run[last - back] for back in (0, 25, 50, 75)) for run in runs]))
        cells.append(spread([mean_similarity(workdir(root, variant, s)) for s in range(len(runs))]))
        print(f"| {variant} | " + " | ".join(cells) + " |")


def mean_similarity(run: Workdir) -> float:
    """Returns the mean off-diagonal entry of the last coefficient LSM, or NaN without sharing."""
    history = read_similarity(run)
    if not history:
        return float("nan")
    (matrix,) = history[max(history)]["coefficients"].values()
    return float(matrix[~np.eye(len(matrix), dtype=bool)].mean())


def spread(values: list[float]) -> str:
    """Returns ``mean ± sample standard deviation``."""
    if np.isnan(values).any():
        return "–"
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {deviation:.3f}"


def draw(curves: dict[str, list[dict[int, float]]], file: pathlib.Path) -> None:
    """Draws F1 over steps: seeds as thin lines, their mean as a bold line, phases as bands."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.add_subplot()
    for phase, window in enumerate(WINDOWS):
        start = phase * PHASE_STEPS
        if phase % 2:
            axes.axvspan(start, start + PHASE_STEPS, color="#f1efe9", zorder=0)
        axes.text(start + PHASE_STEPS / 2, 1.01, f"{window}×{window}", ha="center", fontsize=9)
    for variant, runs in curves.items():
        steps = sorted(runs[0])
        for run in runs:
            axes.plot(steps, [run[step] for step in steps], color=COLORS[variant], lw=0.6, alpha=0.5)
        mean = [statistics.mean(run[step] for run in runs) for step in steps]
        axes.plot(steps, mean, color=COLORS[variant], lw=2, label=variant.upper())
    axes.set(xlabel="step", ylabel="F1, held-out examples of the phase", ylim=(0.5, 1), xlim=(0, max(steps)))
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()
