"""Re-estimates batch-norm statistics: a folded network's activations are not those they were taken from."""

from typing import Any, cast

import jax
import jax.numpy as jnp

from softshare_jax.training.experiment import Experiment
from softshare_jax.training.randomness import stream
from softshare_jax.training.steps import take_batch

# After so many batches the statistics that were there before weigh less than one part in eight thousand.
SETTLING = 85


def reestimate(experiment: Experiment, variables: dict[str, Any], batches: int) -> dict[str, Any]:
    """Returns the variables with new ``batch_stats``; all else is what it was.

    The network runs over training batches of the last phase, augmented as in training, as it would
    train but with its weights held. Its running statistics first settle; then they are averaged.

    Args:
        experiment: of the run, with the plan of the variables.
        variables: as ``sharing`` takes them.
        batches: to average over, 1 or more.
    """
    task, seed, size = experiment.task, experiment.config.seed, experiment.config.batch_size
    data, plain = experiment.train_data(task.phases - 1), experiment.to_plain(variables)

    @jax.jit
    def run(statistics, order, step):
        batch = take_batch(data, order, step, size)
        outputs = experiment.network.apply(
            {**plain, "batch_stats": statistics},
            task.augment(stream(seed, "batch-norm augment", step), task.inputs(batch)),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": stream(seed, "batch-norm dropout", step)},
        )
        return cast(tuple[jax.Array, dict[str, Any]], outputs)[1]["batch_stats"]

    statistics, total = plain["batch_stats"], None
    for step in range(SETTLING + batches):
        if step % experiment.steps_per_epoch == 0:
            order = experiment.epoch_order(step // experiment.steps_per_epoch)
        statistics = run(statistics, order, step)
        if step >= SETTLING:
            total = statistics if total is None else jax.tree.map(jnp.add, total, statistics)
    return {**variables, "batch_stats": jax.tree.map(lambda x: x / batches, total)}
