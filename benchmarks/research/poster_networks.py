"""Checks that narrow variants of the poster's other networks learn CIFAR-10, unshared and soft-shared.

    python -m benchmarks.research.poster_networks --data_dir=DIR

Trains each for some steps with its shipped config, except for small batches and one learning rate for all.
Folds the shared ones, whose groups have one template. Prints the mean loss in nats of the first and last ten
steps, and the effect of the fold.
"""

import argparse

import jax
import numpy as np

from benchmarks.runs import experiment, machine
from softshare_jax import sharing
from softshare_jax.models import zoo
from softshare_jax.sharing.parameters import count
from softshare_jax.training.experiment import Experiment

NETWORKS = (
    "nasnet-a-6x4",
    "amoebanet-b-6x4",
    "darts-6x4",
    "snas-6x4",
    "enas-6x4",
    "resnext-29-2x4d",
    "densenet-10-6",
    "densenet-bc-16-6",
    "wrn-16-1",
)


def main() -> None:
    """Prints a row for each network, unshared and shared."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", required=True, help="folder of TFDS data sets")
    parser.add_argument("--networks", nargs="+", help="unshared names of the networks (default: all)")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(machine())
    print("| network | parameters | first loss | last loss | fold: distinct layers, loss before and after |")
    print("|---|---|---|---|---|")
    fields = {
        "seed": arguments.seed,
        "data_dir": arguments.data_dir,
        "data__train_examples": 4096,
        "batch_size": 32,
        "duration": f"{arguments.steps} steps",
        "optimizer__learning_rate": 0.025,
        "optimizer__schedule": "cosine",
        "optimizer__milestones": (),
    }
    for unshared in arguments.networks or NETWORKS:
        for name in (unshared, zoo.soft_shared(unshared, 1)):
            print(row(name, experiment(name, **fields), arguments.steps), flush=True)


def row(name: str, run: Experiment, steps: int) -> str:
    """Trains a network and returns its row of the table."""
    state, losses = run.programs.init_state(), []
    feed = run.task.feed(run.batching, range(steps))
    size = count(state.variables).total
    for step in range(steps):
        state, metrics = run.programs.train_steps(state, run.programs.no_metrics(), feed.at(step), 1)
        losses.append(float(metrics.compute()["loss"]))
    folded = "-"
    if run.plan.groups:
        plan, variables = sharing.fold(run.plan, jax.device_get(state.variables), 0.9)
        layers = sum(group.layers for group in plan.groups)
        left = sum(len(set(kept)) for kept in sharing.distinct_layers(plan, variables).values())
        batch = {key: array[:64] for key, array in feed.at(steps - 1).data.items()}
        apply = jax.jit(run.network.apply)
        before, after = (
            float(np.mean(run.task.loss(apply(sharing.to_dense(*net), run.task.inputs(batch)), batch)))
            for net in ((run.plan, state.variables), (plan, variables))
        )
        folded = f"{layers} to {left}, {before:.4f} and {after:.4f}"
    return f"| {name} | {size:,} | {np.mean(losses[:10]):.3f} | {np.mean(losses[-10:]):.3f} | {folded} |"


if __name__ == "__main__":
    main()
