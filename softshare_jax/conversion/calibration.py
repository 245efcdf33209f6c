"""What the layers of a run see: second moments of their inputs over training batches."""

import contextlib
import functools
from typing import Any

import jax
import jax.numpy as jnp

from softshare_jax import sharing
from softshare_jax.runs.load import Trained
from softshare_jax.training.randomness import stream
from softshare_jax.training.tasks.batching import take

# Examples at a time: without jit, the patches of a whole batch would lie in memory at once.
EXAMPLES = 16


def input_moments(trained: Trained, plan: sharing.Plan, batches: int) -> dict[str, Any]:
    """Returns the moments of a run's layers for ``sharing.from_dense``, ``{group: [L, p, p]}``.

    The network runs in test mode over augmented training batches of the last phase.

    Args:
        trained: an unshared run.
        plan: the layers that shall share.
        batches: number of batches, 1 or more.

    Raises:
        PlanError: see ``sharing.input_moments``.
    """
    experiment, dense = trained.experiment, trained.variables
    task, seed, size = experiment.task, experiment.config.seed, experiment.config.batch_size
    parts = []
    with contextlib.closing(task.feed(experiment.batching, range(batches), task.phases - 1)) as feed:
        for step in range(batches):
            images = task.inputs(take(feed.at(step), jnp.int32(step), size))
            images = task.augment(stream(seed, "calibration augment", step), images)
            # Parts of one size, because their moments are averaged.
            length = min(EXAMPLES, size)
            for start in range(0, size - length + 1, length):
                run = functools.partial(experiment.network.apply, dense, images[start : start + length])
                parts.append(sharing.input_moments(plan, run))
    return jax.tree.map(lambda *moments: sum(moments) / len(moments), *parts)
