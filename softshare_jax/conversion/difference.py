"""What a change to a trained network saved and cost, measured."""

from typing import Any

import numpy as np

from softshare_jax.runs.load import Trained
from softshare_jax.sharing.parameters import count
from softshare_jax.training.checksum import checksum


def measure(before: Trained, after: Trained) -> dict[str, Any]:
    """Compares two networks that compute the same or nearly so, on every test example of the last phase.

    Args:
        before: the run that was changed.
        after: what became of it, as read back from disk.

    Returns:
        Plain values, for a JSON file: ``parameters`` and ``metric`` before and after,
        ``max_logit_difference``, the largest absolute difference of a logit, and ``checksum`` of the
        variables after.
    """
    task = before.experiment.task
    phase = task.phases - 1
    plain = [run.experiment.programs.to_dense(run.variables) for run in (before, after)]
    tested = [before.experiment.evaluator.test(variables, phase) for variables in plain]
    scores, logits = [found[task.score] for found, _ in tested], [logits for _, logits in tested]
    numbers = [count(run.variables).total for run in (before, after)]
    return {
        "parameters": {"before": numbers[0], "after": numbers[1], "kept": numbers[1] / numbers[0]},
        "metric": {
            "name": task.score,
            "measured_on": f"{len(logits[0])} test examples, {task.phase_name(phase)}",
            "before": scores[0],
            "after": scores[1],
            "drop": scores[0] - scores[1],
        },
        "max_logit_difference": float(np.max(np.abs(logits[1] - logits[0]))),
        "checksum": checksum(after.variables),
    }


def describe(difference: dict[str, Any]) -> list[str]:
    """Returns what was measured as lines to print, with what else the commands found between them."""
    parameters, metric = difference["parameters"], difference["metric"]
    name = f"test {metric['name']}"
    return [
        f"  parameters       {parameters['before']:,} -> {parameters['after']:,} ({parameters['kept']:.1%})",
        f"  {name:16} {metric['before']:.4f} -> {metric['after']:.4f} "
        f"(drop {metric['drop']:+.4f}; {metric['measured_on']})",
        f"  largest logit difference {difference['max_logit_difference']:.3g}",
    ]
