"""The certificate of a fold: what was lost and what was saved, measured."""

from typing import Any

import numpy as np

from softshare_jax import sharing
from softshare_jax.analysis.parameters import count
from softshare_jax.analysis.trained import Trained
from softshare_jax.training.checksum import checksum


def certify(before: Trained, after: Trained, threshold: float, measure: sharing.Measure) -> dict[str, Any]:
    """Compares a run with its fold on every held-out example of the last phase.

    Args:
        before: the run that was folded.
        after: the folded run, as read back from disk.
        threshold: similarity from which layers were merged.
        measure: of that similarity.

    Returns:
        Plain values, as ``certificate.json`` holds them: parameters, distinct layers and metric
        before and after, the largest absolute difference of a logit, and the loops by group.
    """
    task = before.experiment.task
    phase = task.phases - 1
    plain = [run.experiment.to_plain(run.variables) for run in (before, after)]
    tested = [before.experiment.test(variables, phase) for variables in plain]
    scores, logits = [found[task.score] for found, _ in tested], [logits for _, logits in tested]
    numbers = [count(run.variables).total for run in (before, after)]
    # Before the fold every layer that mixes templates counts, however similar it is to another.
    groups = before.experiment.plan.groups
    distinct = sum(len(set(group.assignment or range(group.layers))) for group in groups)
    layers = sharing.distinct_layers(after.experiment.plan, after.variables)
    return {
        "model": before.experiment.config.model,
        "step": before.step,
        "measure": measure,
        "threshold": threshold,
        "parameters": {"before": numbers[0], "after": numbers[1], "kept": numbers[1] / numbers[0]},
        "shared_layers": sum(group.layers for group in groups),
        "distinct_layers": {"before": distinct, "after": sum(len(set(group)) for group in layers.values())},
        "metric": {
            "name": task.score,
            "measured_on": f"{len(logits[0])} test examples, {task.phase_name(phase)}",
            "before": scores[0],
            "after": scores[1],
            "drop": scores[0] - scores[1],
        },
        "max_logit_difference": float(np.max(np.abs(logits[1] - logits[0]))),
        "loops": {name: sharing.format_loops(sharing.find_loops(group)) for name, group in layers.items()},
        "checksum": checksum(after.variables),
    }


def describe(certificate: dict[str, Any]) -> str:
    """Returns a certificate as the lines that ``fold`` prints."""
    parameters, layers, metric = (certificate[key] for key in ("parameters", "distinct_layers", "metric"))
    kept, shared = parameters["kept"], certificate["shared_layers"]
    lines = [
        f"{certificate['model']} at step {certificate['step']}, folded where the similarity of "
        f"{certificate['measure']} is {certificate['threshold']:.4g} or more",
        f"  parameters       {parameters['before']:,} -> {parameters['after']:,} ({kept:.1%} remain)",
        f"  distinct layers  {layers['before']} -> {layers['after']} of {shared} shared",
        f"  test {metric['name']}          {metric['before']:.4f} -> {metric['after']:.4f} "
        f"(drop {metric['drop']:+.4f}; {metric['measured_on']})",
        f"  largest logit difference {certificate['max_logit_difference']:.3g}",
        *(f"  {name}: {loops}" for name, loops in certificate["loops"].items()),
    ]
    if certificate["batch_norm_batches"]:
        lines.append(f"  batch-norm statistics taken anew over {certificate['batch_norm_batches']} batches")
    return "\n".join(lines)
