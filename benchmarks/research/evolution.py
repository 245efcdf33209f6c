"""How a hundred layers become the same: the layer similarity of a deep CNN while it trains.

    python -m benchmarks.research.evolution --output=runs/evolution

Trains SCNN 100-16 on 12x12 grids without and with the recurrence regularizer, over five phases of growing
windows, and folds both at the end. Draws evolution-100.png into the output (similarity of the layers at five
times) and prints the table of docs/results.md. Interrupted runs resume.
"""

import argparse
import pathlib

from benchmarks.research import comparison
from softshare_jax import durable
from softshare_jax.runs.workdir import Workdir
from softshare_jax.shell import cli

# Variants of configs/shortest_paths.py, and what they are called.
NETWORKS = {"scnn": "SCNN", "scnn-r": "SCNN-R"}
PHASES = 5
SETTINGS = {
    "model": "scnn-100-16",
    "data.side": 12,
    "data.windows": (5, 9, 13, 17, 23),
    "data.test_examples": 300,
    "optimizer.learning_rate": 0.003,
}


def main() -> None:
    """Trains and folds the missing runs, prints the table and draws the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default="runs/evolution", help="folder of the runs and results")
    parser.add_argument("--phase", type=comparison.positive, default=200, help="steps of a phase")
    arguments = parser.parse_args()
    root, steps = pathlib.Path(arguments.output), PHASES * arguments.phase
    runs: dict[str, Workdir] = {}
    print("| network | F1 | after the fold | layers | loops | parameters |")
    print("|---|---|---|---|---|---|")
    for variant, name in NETWORKS.items():
        runs[name] = train(root / variant, variant, arguments.phase)
        folded = comparison.fold(runs[name], root / f"{variant}-folded")
        print(row(name, folded), flush=True)
    figure = comparison.similarity_over_time("evolution-100.png", runs, steps)
    durable.write(root / figure.file, figure.content)


def train(folder: pathlib.Path, variant: str, phase: int) -> Workdir:
    """Trains or resumes a run, and returns its workdir."""
    every = f"{max(1, phase // 8)} steps"
    durations = {
        "data.phase": f"{phase} steps",
        "duration": f"{PHASES * phase} steps",
        "log_every": every,
        "evaluate_every": every,
        "checkpoint_every": every,
    }
    return comparison.train(f"shortest_paths:{variant}", folder, {**SETTINGS, **durations})


def row(name: str, folded: Workdir) -> str:
    """Returns a row of the table, from the certificate of the fold."""
    certificate = folded.read_json(folded.certificate_file)
    score, layers, parameters = (certificate[key] for key in ("metric", "distinct_layers", "parameters"))
    merged = layers["after"] < layers["before"]
    loops = ", ".join(f"`{text}`" for text in certificate["loops"].values()) if merged else "–"
    return (
        f"| {name} | {score['before']:.3f} | {score['after']:.3f} | {layers['before']} -> {layers['after']} "
        f"| {loops} | {parameters['before']:,} -> {parameters['after']:,} |"
    )


if __name__ == "__main__":
    cli.run(main)
