"""Templates by SVD of trained weights against random templates, before and after fine-tuning.

    python -m benchmarks.research.pretrained --dense=runs/wrn-22-1 --output=runs/pretrained --steps=200

Starts from a trained unshared run. For k = 1, 2, 3 it creates two networks: one with the best k templates
for the trained weights, and one with random templates and coefficients. Both keep all other parameters, and
batch-norm is recalibrated. Both, and the unshared network, are then fine-tuned with one recipe. Prints the
table of docs/results.md. An interrupted benchmark resumes.
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
    """Creates, trains and compares the networks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dense", required=True, help="workdir of a trained unshared run")
    parser.add_argument("--output", default="runs/pretrained", help="folder for the workdirs")
    parser.add_argument("--steps", type=int, default=200, help="steps of fine-tuning")
    parser.add_argument("--learning_rate", type=float, default=0.02, help="initial rate of the cosine")
    parser.add_argument("--seed", type=int, default=1, help="seed of fine-tuning and random templates")
    arguments = parser.parse_args()
    root, dense = pathlib.Path(arguments.output), load(Workdir(arguments.dense))
    config = fine_tuning(dense.experiment.config, arguments)

    unshared = Workdir(root / "plain")
    if not unshared.root.exists():
        write(unshared, make_experiment(config), dense.variables)
    rows = [("unshared", "", *(error(unshared, when) for when in ("before", "after")), parameters(unshared))]
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
    """Returns the recipe of the run with fewer steps and a lower, cosine learning rate."""
    duration = f"{arguments.steps} steps"
    optimizer = dataclasses.replace(
        config.optimizer, schedule="cosine", milestones=(), learning_rate=arguments.learning_rate
    )
    return dataclasses.replace(
        config, optimizer=optimizer, seed=arguments.seed, duration=duration, evaluate_every=duration
    )


def redrawn(shared: Trained) -> tuple[Experiment, dict]:
    """Returns a network with new random templates and coefficients; all other variables are kept."""
    experiment = shared.experiment
    drawn = experiment.programs.init_state().variables
    return experiment, {**shared.variables, **{name: drawn[name] for name in ("templates", "coefficients")}}


def write(output: Workdir, experiment: Experiment, variables: dict) -> None:
    """Writes a run at step 0, with recalibrated batch-norm."""
    experiment.task.prepare()
    renewed = make_reestimation(experiment, BATCHES)(experiment.programs.to_dense(variables))
    with new_workdir(output) as workdir:
        write_run(workdir, experiment, 0, {**variables, "batch_stats": renewed["batch_stats"]})


def error(run: Workdir, when: str) -> float:
    """Returns the test error of a run before or after fine-tuning."""
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
    """Returns the number of parameters of a run."""
    return count(load(run).variables).total


if __name__ == "__main__":
    main()
