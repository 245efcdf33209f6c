"""What a change to a trained network saved and cost, measured."""

import logging
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from softshare_jax.conversion.network import is_array, is_random_key
from softshare_jax.runs.artifacts import Counts, Difference, Metric
from softshare_jax.runs.load import Trained
from softshare_jax.sharing.parameters import count
from softshare_jax.training.checksum import checksum

log = logging.getLogger(__name__)


def measure(before: Trained, after: Trained) -> Difference:
    """Compares two networks that compute the same or nearly so, on every test example of the last phase.

    Args:
        before: the run that was changed.
        after: what became of it, as read back from disk.
    """
    task = before.experiment.task
    phase = task.phases - 1
    log.info("measuring the network before and after on the test examples")
    dense = [run.experiment.programs.to_dense(run.variables) for run in (before, after)]
    tested = [before.experiment.evaluator.test(variables, phase) for variables in dense]
    scores, logits = [found[task.score] for found, _ in tested], [logits for _, logits in tested]
    measured_on = f"{len(logits[0])} test examples, {task.phase_name(phase)}"
    metric = Metric(task.score, measured_on, *scores)
    return between(before.variables, after.variables, metric, largest(*logits))


def between(
    before: Mapping[str, Any], after: Mapping[str, Any], metric: Metric, largest_difference: float
) -> Difference:
    """Returns the difference between soft-shared variables whose networks have been measured."""
    numbers = jax.tree.map(lambda leaf: leaf if is_array(leaf) and not is_random_key(leaf) else None, after)
    return Difference(
        parameters=Counts(count(before).total, count(after).total),
        metric=metric,
        max_logit_difference=largest_difference,
        checksum=checksum(numbers),
    )


def largest(before: Any, after: Any) -> float:
    """Returns the largest absolute difference between outputs, trees of numpy arrays."""

    def of_arrays(a: Any, b: Any) -> float:
        wide = np.result_type(a.dtype, np.float32)
        return float(np.max(np.abs(np.asarray(b, wide) - np.asarray(a, wide)), initial=0.0))

    # The maximum of numpy, unlike that of Python, is NaN if one of the numbers is.
    return float(np.max(jax.tree.leaves(jax.tree.map(of_arrays, before, after)), initial=0.0))


def describe(difference: Difference) -> list[str]:
    """Returns what was measured as lines to print."""
    parameters, metric = difference.parameters, difference.metric
    name = f"test {metric.name}"
    return [
        f"  parameters       {parameters.before:,} -> {parameters.after:,} ({parameters.kept:.1%})",
        f"  {name:16} {metric.before:.4f} -> {metric.after:.4f} "
        f"(drop {metric.drop:+.4f}; {metric.measured_on})",
        f"  largest logit difference {difference.max_logit_difference:.3g}",
    ]


def describe_batch_norm(batches: int) -> list[str]:
    """Returns the line about batch-norm; none if its statistics were kept."""
    return [f"  batch-norm statistics re-estimated over {batches} batches"] if batches else []
