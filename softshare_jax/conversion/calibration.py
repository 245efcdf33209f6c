"""What the layers of a run see: second moments of their inputs over training batches."""

import contextlib
import functools
import logging
from typing import Any

import jax
import jax.numpy as jnp

from softshare_jax import sharing
from softshare_jax.errors import UserError
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
        plan: the layers that share.
        batches: number of batches, 1 or more.

    Raises:
        UserError: no group can be read.
    """
    experiment, dense = trained.experiment, trained.variables
    task, seed, size = experiment.task, experiment.config.seed, experiment.config.batch_size
    total: dict[str, Any] = {}
    # Parts of one size, because their moments are averaged; they leave out what remains of a batch.
    starts = range(0, size - min(EXAMPLES, size) + 1, EXAMPLES)
    logging.info("measuring the inputs of layers over %d batches", batches)
    with contextlib.closing(task.feed(experiment.batching, range(batches), task.phases - 1)) as feed:
        for step in range(batches):
            images = task.inputs(take(feed.at(step), jnp.int32(step), size))
            images = task.augment(stream(seed, "calibration augment", step), images)
            for start in starts:
                run = functools.partial(experiment.network.apply, dense, images[start : start + EXAMPLES])
                try:
                    found = sharing.input_moments(plan, run)
                except sharing.PlanError as error:
                    raise UserError(
                        f"the inputs of the layers of {experiment.config.model} cannot be read: "
                        "leave --calibration_batches out"
                    ) from error
                total = jax.tree.map(jnp.add, total, found) if total else found
    if missing := [group.name for group in plan.groups if group.name not in total]:
        logging.info("inputs cannot be read, so these groups fit their weights: %s", ", ".join(missing))
    return jax.tree.map(lambda moments: moments / (batches * len(starts)), total)
