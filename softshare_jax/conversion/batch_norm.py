"""Re-estimates batch-norm statistics: a folded network's activations are not those they were taken from."""

import contextlib
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from softshare_jax.training.experiment import Experiment
from softshare_jax.training.randomness import stream
from softshare_jax.training.tasks.batching import Fed, take

# After so many batches the statistics that were there before weigh less than one part in a thousand.
SETTLING = 66

Plain = dict[str, Any]


def make_reestimation(experiment: Experiment, batches: int) -> Callable[[Plain], Plain]:
    """Returns a function from a plain network's variables to the same with new ``batch_stats``.

    The network runs over training batches of the last phase, augmented as in training, as it would
    train but with its weights held and all of its paths there. Its running statistics first settle; then
    they are averaged.

    Args:
        experiment: of the run.
        batches: to average over, 1 or more.
    """
    task, seed, size = experiment.task, experiment.config.seed, experiment.config.batch_size

    @jax.jit
    def run(plain, fed: Fed, step):
        batch = take(fed, step, size)
        outputs = experiment.network.apply(
            plain,
            task.augment(stream(seed, "batch-norm augment", step), task.inputs(batch)),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": stream(seed, "batch-norm dropout", step)},
        )
        return cast(tuple[jax.Array, dict[str, Any]], outputs)[1]["batch_stats"]

    def reestimate(plain: Plain) -> Plain:
        total = jax.tree.map(jnp.zeros_like, plain["batch_stats"])
        steps = range(SETTLING + batches)
        with contextlib.closing(task.feed(experiment.batching, steps, task.phases - 1)) as feed:
            for step in steps:
                plain = {**plain, "batch_stats": run(plain, feed.at(step), step)}
                if step >= SETTLING:
                    total = jax.tree.map(jnp.add, total, plain["batch_stats"])
        return {**plain, "batch_stats": jax.tree.map(lambda x: x / batches, total)}

    return reestimate
