"""Trained weights shared by SVD against random templates, before and after the same fine-tuning.

    python -m benchmarks.pretrained --dense=runs/wrn-22-1 --output=runs/pretrained --steps=200

Takes a trained unshared run. For k = 1, 2, 3 it makes two networks of it: one whose templates are the
best k of its weights, and one whose templates and coefficients are drawn anew. All other parameters are
the trained ones in both, and batch-norm statistics are taken anew. Both, and the unshared network itself,
are then trained on with one recipe. Prints the table of docs/results.md. Called again it goes on where it
was interrupted.
"""

import argparse
import dataclasses
import pathlib

from softshare_jax.config import Config
from softshare_jax.conversion.batch_norm import make_reestimation
from softshare_jax.conversion.output import new_workdir, write_run
from softshare_jax.conversion.resizing import resize_run
from softshare_jax.runs.load import Trained, load
from softshare_jax.runs.loop import train
from softshare_jax.runs.records import read_metrics
from softshare_jax.runs.workdir import Workdir
from softshare_jax.sharing.parameters import count
from softshare_jax.training.experiment import Experiment, make_experiment

BATCHES = 20


def main() -> None:
    """Makes, trains and compares the networks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dense", required=True, help="workdir of a trained unshared run")
    parser.add_argument("--output", default="runs/pretrained", help="folder of the workdirs")
    parser.add_argument("--steps", type=int, default=200, help="of fine-tuning")
    parser.add_argument("--learning_rate", type=float, default=0.02, help="at the start of its cosine")
    parser.add_argument("--seed", type=int, default=1, help="of fine-tuning and of random templates")
    arguments = parser.parse_args()
    root, dense = pathlib.Path(arguments.output), load(Workdir(arguments.dense))
    config = fine_tuning(dense.experiment.config, arguments)

    plain = Workdir(root / "plain")
    if not plain.root.exists():
        write(plain, make_experiment(config), dense.variables)
    rows = [("unshared", "", *(error(plain, when) for when in ("before", "after")), parameters(plain))]
    for k in (1, 2, 3):
        kept, best, random = (Workdir(root / f"{name}-{k}") for name in ("kept", "svd", "random"))
        for output, batches in ((kept, 0), (best, BATCHES)):
            if not output.root.exists():
                resize_run(Workdir(arguments.dense), output, k, config=config, batch_norm_batches=batches)
        if not random.root.exists():
            write(random, *redrawn(load(best)))
        before = {run: error(run, "before") for run in (kept, best, random)}
        for run in (best, random):
            rows.append((f"k = {k}", run.root.name, before[run], error(run, "after"), parameters(run)))
        rows.append((f"k = {k}", "svd, statistics kept", before[kept], None, parameters(kept)))
    for name, templates, before_tuning, after_tuning, number in rows:
        after = "" if after_tuning is None else f"{after_tuning:.2%}"
        print(f"| {name} | {templates} | {number:,} | {before_tuning:.2%} | {after} |", flush=True)


def fine_tuning(config: Config, arguments: argparse.Namespace) -> Config:
    """Returns the recipe: that of the run, for fewer steps and at a lower rate that falls to zero."""
    duration = f"{arguments.steps} steps"
    optimizer = dataclasses.replace(
        config.optimizer, schedule="cosine", milestones=(), learning_rate=arguments.learning_rate
    )
    return dataclasses.replace(
        config, optimizer=optimizer, seed=arguments.seed, duration=duration, evaluate_every=duration
    )


def redrawn(shared: Trained) -> tuple[Experiment, dict]:
    """Returns a network whose templates and coefficients are random, and all else is as it was."""
    experiment = shared.experiment
    drawn = experiment.programs.init_state().variables
    return experiment, {**shared.variables, **{name: drawn[name] for name in ("templates", "coefficients")}}


def write(output: Workdir, experiment: Experiment, variables: dict) -> None:
    """Writes a run at step 0, with batch-norm statistics of its own."""
    experiment.task.prepare()
    renewed = make_reestimation(experiment, BATCHES)(experiment.programs.to_dense(variables))
    with new_workdir(output) as workdir:
        write_run(workdir, experiment, 0, {**variables, "batch_stats": renewed["batch_stats"]})


def error(run: Workdir, when: str) -> float:
    """Returns the test error of a run as it was made, or after it has been trained on."""
    if when == "after":
        train(None, run)
        return 1 - read_metrics(run.metrics_file)[-1]["eval/accuracy"]
    first = run.root / "before.json"
    if not first.exists():
        at_start = load(run, step=0)
        scores = at_start.experiment.evaluator.evaluate(
            at_start.experiment.programs.to_dense(at_start.variables), 0, "test"
        )
        run.write(first, str(1 - scores["accuracy"]))
    return float(first.read_text())


def parameters(run: Workdir) -> int:
    """Returns how many parameters a run has."""
    return count(load(run).variables).total


if __name__ == "__main__":
    main()
