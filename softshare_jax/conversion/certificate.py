"""The certificate of a fold: what was lost and what was saved, measured."""

from typing import Any

from softshare_jax import sharing
from softshare_jax.conversion import difference
from softshare_jax.runs.load import Trained


def certify(before: Trained, after: Trained, threshold: float, measure: sharing.Measure) -> dict[str, Any]:
    """Compares a run with its fold on every held-out example of the last phase.

    Args:
        before: the run that was folded.
        after: the folded run, as read back from disk.
        threshold: similarity from which layers were merged.
        measure: of that similarity.

    Returns:
        Plain values, as ``certificate.json`` holds them: what ``difference.measure`` returns, and
        distinct layers before and after, and the loops by group.
    """
    # Before the fold every layer that mixes templates counts, however similar it is to another.
    groups = before.experiment.plan.groups
    distinct = sum(len(set(group.assignment or range(group.layers))) for group in groups)
    layers = sharing.distinct_layers(after.experiment.plan, after.variables)
    return {
        "model": before.experiment.config.model,
        "step": before.step,
        "measure": measure,
        "threshold": threshold,
        **difference.measure(before, after),
        "shared_layers": sum(group.layers for group in groups),
        "distinct_layers": {"before": distinct, "after": sum(len(set(group)) for group in layers.values())},
        "loops": {name: sharing.format_loops(sharing.find_loops(group)) for name, group in layers.items()},
    }


def describe(certificate: dict[str, Any]) -> str:
    """Returns a certificate as the lines that ``fold`` prints."""
    layers, shared = certificate["distinct_layers"], certificate["shared_layers"]
    lines = [
        f"{certificate['model']} at step {certificate['step']}, folded where the similarity of "
        f"{certificate['measure']} is {certificate['threshold']:.4g} or more",
        *difference.describe(certificate),
        f"  distinct layers  {layers['before']} -> {layers['after']} of {shared} shared",
        *(f"  {name}: {loops}" for name, loops in certificate["loops"].items()),
    ]
    if certificate["batch_norm_batches"]:
        lines.append(f"  batch-norm statistics taken anew over {certificate['batch_norm_batches']} batches")
    return "\n".join(lines)
