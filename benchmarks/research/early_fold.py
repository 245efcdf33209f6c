"""Is folding early as good as folding at the end? Folds at several points of training, and trains on.

    python -m benchmarks.research.early_fold --output=runs/early_fold --seeds=3
    python -m benchmarks.research.early_fold --task=cifar --data_dir=DIR --output=runs/early_fold_cifar

Trains SCNN-R on grids of 16x16, or SWRN 22-1-2 on CIFAR-10. The checkpoints after 2%, 10% and 50% of the
steps and the last one are folded at 0.9. All but the last train on to the same number of steps. Writes
rows.jsonl (distinct layers, parameters, the score before and after the fold and at the end) and table.md.
Interrupted runs resume, and rows that are there are not measured again.
"""

import argparse
import pathlib
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.research import comparison
from softshare_jax.runs.records import read_metrics
from softshare_jax.runs.workdir import Workdir
from softshare_jax.shell import cli

# In percent of the steps.
PERCENT = (2, 10, 50, 100)


class Task(NamedTuple):
    """What is trained.

    Attributes:
        config: the config and its variant.
        steps: of a run.
        score: the metric of the end.
        scores: number of evaluations at the end whose mean it is.
        fields: fields of the config.
    """

    config: str
    steps: int
    score: str
    scores: int
    fields: dict[str, object]


TASKS = {
    "grids": Task(
        "shortest_paths:scnn-r",
        steps=7800,
        score="eval/f1",
        scores=4,
        fields={
            "model": "scnn-20-16",
            "data.side": 16,
            "data.phase": "1560 steps",
            "evaluate_every": "390 steps",
            "checkpoint_every": "156 steps",
        },
    ),
    "cifar": Task(
        "cifar10:swrn-22-1-2",
        steps=750,
        score="eval/accuracy",
        scores=1,
        fields={"evaluate_every": "75 steps", "checkpoint_every": "15 steps"},
    ),
}


def main() -> None:
    """Trains and folds what is not trained, and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="grids", choices=TASKS)
    parser.add_argument("--output", default="runs/early_fold", help="folder of the runs and results")
    parser.add_argument("--data_dir", default="", help="folder of data sets (default: that of TFDS)")
    parser.add_argument("--seeds", type=comparison.positive, default=3)
    arguments = parser.parse_args()
    task, output = TASKS[arguments.task], pathlib.Path(arguments.output)
    rows = comparison.read(output / "rows.jsonl")
    for seed in range(arguments.seeds):
        run = train(task, output / f"whole-{seed}", seed, arguments.data_dir)
        for percent in PERCENT:
            if any((row["seed"], row["percent"]) == (seed, percent) for row in rows):
                continue
            rows.append(fold(task, run, output / f"folded-{seed}-{percent}", seed, percent))
            comparison.write(output / "rows.jsonl", rows)
    comparison.show(output / "table.md", table(rows))


def train(task: Task, folder: pathlib.Path, seed: int, data_dir: str) -> Workdir:
    """Trains or resumes the run that is folded, and keeps all of its checkpoints."""
    fields = {
        "seed": seed,
        "data_dir": data_dir,
        "duration": f"{task.steps} steps",
        "keep_checkpoints": 100,
        **task.fields,
    }
    return comparison.train(task.config, folder, fields)


def fold(task: Task, run: Workdir, folder: pathlib.Path, seed: int, percent: int) -> comparison.Row:
    """Folds a checkpoint, trains the result to the end of the run, and returns the row."""
    folded = comparison.fold(run, folder, f"--step={task.steps * percent // 100}")
    certificate = folded.read_json(folded.certificate_file)
    before, after = (certificate["metric"][name] for name in ("before", "after"))
    whole = end(task, run)
    if percent < 100:
        comparison.run("main", f"--workdir={folder}")
    return {
        "seed": seed,
        "percent": percent,
        "distinct_layers": certificate["distinct_layers"]["after"],
        "loops": certificate["loops"],
        "parameters": certificate["parameters"],
        "before_fold": before,
        "after_fold": after,
        "end": end(task, folded) if percent < 100 else whole + after - before,
        "whole": whole,
    }


def end(task: Task, run: Workdir) -> float:
    """Returns the score at the end of a run."""
    scores = [row[task.score] for row in read_metrics(run.metrics_file) if task.score in row]
    return statistics.mean(scores[-task.scores :])


def table(rows: Sequence[comparison.Row]) -> str:
    """Returns a Markdown table of means and sample standard deviations over seeds."""
    lines = [
        "| folded after | distinct layers | score before and after the fold | at the end | lost |",
        "|---|---|---|---|---|",
    ]
    for percent in PERCENT:
        here = [row for row in rows if row["percent"] == percent]
        layers = ", ".join(str(row["distinct_layers"]) for row in here)
        fell = [row["whole"] - row["end"] for row in here]
        scores = (comparison.spread([row[name] for row in here], 4) for name in ("before_fold", "after_fold"))
        ends = (comparison.spread(values, 4) for values in ([row["end"] for row in here], fell))
        lines.append(f"| {percent}% | {layers} | {' -> '.join(scores)} | {' | '.join(ends)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    cli.run(main)
