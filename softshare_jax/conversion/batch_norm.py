"""Batch-norm recalibration: a folded network's activations differ from those of the original."""

import contextlib
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from softshare_jax.errors import UserError
from softshare_jax.training.experiment import Experiment
from softshare_jax.training.randomness import stream
from softshare_jax.training.tasks.batching import Fed, take

# After this many batches the weight of the old statistics is below 0.001.
SETTLING = 66

Variables = dict[str, Any]


def make_reestimation(experiment: Experiment, batches: int) -> Callable[[Variables], Variables]:
    """Returns a function from an unshared network's variables to the same with new ``batch_stats``.

    The network runs in training mode over augmented training batches of the last phase, with fixed weights
    and without drop-path. The running statistics are averaged after they have settled.

    Args:
        experiment: experiment of the run.
        batches: number of batches to average over, 1 or more.

    Raises:
        UserError: the network has no batch-norm.
    """
    if "batch_stats" not in experiment.programs.state_shapes().variables:
        raise UserError(f"{experiment.config.model} has no batch-norm: leave --batch_norm_batches out")
    task, seed, size = experiment.task, experiment.config.seed, experiment.config.batch_size

    @jax.jit
    def run(dense, fed: Fed, step):
        batch = take(fed, step, size)
        outputs = experiment.network.apply(
            dense,
            task.augment(stream(seed, "batch-norm augment", step), task.inputs(batch)),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": stream(seed, "batch-norm dropout", step)},
        )
        return cast(tuple[jax.Array, dict[str, Any]], outputs)[1]["batch_stats"]

    def reestimate(dense: Variables) -> Variables:
        total = jax.tree.map(jnp.zeros_like, dense["batch_stats"])
        steps = range(SETTLING + batches)
        with contextlib.closing(task.feed(experiment.batching, steps, task.phases - 1)) as feed:
            for step in steps:
                dense = {**dense, "batch_stats": run(dense, feed.at(step), step)}
                if step >= SETTLING:
                    total = jax.tree.map(jnp.add, total, dense["batch_stats"])
        return {**dense, "batch_stats": jax.tree.map(lambda x: x / batches, total)}

    return reestimate
