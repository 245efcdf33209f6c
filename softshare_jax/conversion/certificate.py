"""The certificate of a fold: what was lost and what was saved, measured."""

from typing import Any

from softshare_jax import sharing
from softshare_jax.conversion import difference
from softshare_jax.runs.artifacts import Certificate, Counts, Difference
from softshare_jax.runs.load import Trained


def certify(
    before: Trained,
    after: Trained,
    threshold: float,
    measure: sharing.Measure,
    source: str = "",
    batch_norm_batches: int = 0,
) -> Certificate:
    """Compares a run with its fold on every test example of the last phase.

    Args:
        before: the run that was folded.
        after: the folded run, as read back from disk.
        threshold: similarity from which layers were merged.
        measure: of that similarity.
        source: workdir of the run that was folded.
        batch_norm_batches: batches over which batch-norm was re-estimated.
    """
    return certificate_of(
        before.experiment.plan,
        sharing.Folded(after.experiment.plan, after.variables),
        difference.measure(before, after),
        threshold,
        measure,
        step=before.step,
        source=source,
        batch_norm_batches=batch_norm_batches,
        model=before.experiment.config.model,
    )


def certificate_of(
    plan: sharing.Plan,
    folded: sharing.Folded,
    difference: Difference,
    threshold: float,
    measure: sharing.Measure,
    **origin: Any,
) -> Certificate:
    """Returns the certificate of a fold whose difference has been measured.

    Args:
        plan: the plan before the fold.
        folded: the folded network.
        difference: between the two networks.
        threshold, measure: as for ``certify``.
        origin: ``step``, ``model`` and other fields of the certificate that say what was folded.
    """
    # Before the fold every layer that mixes templates counts, however similar it is to another.
    distinct = sum(len(set(group.assignment or range(group.layers))) for group in plan.groups)
    layers = sharing.distinct_layers(*folded)
    return Certificate(
        difference=difference,
        measure=measure,
        threshold=threshold,
        shared_layers=sum(group.layers for group in plan.groups),
        distinct_layers=Counts(distinct, sum(len(set(group)) for group in layers.values())),
        loops={name: sharing.format_loops(sharing.find_loops(group)) for name, group in layers.items()},
        layers=layers,
        **origin,
    )


def describe(certificate: Certificate) -> str:
    """Returns a certificate as the lines that ``fold`` prints."""
    layers = certificate.distinct_layers
    lines = [
        f"{certificate.model} at step {certificate.step}, folded where the similarity of "
        f"{certificate.measure} is {certificate.threshold:.4g} or more",
        *difference.describe(certificate.difference),
        f"  distinct layers  {layers.before} -> {layers.after} of {certificate.shared_layers} shared",
        *(f"  {name}: {loops}" for name, loops in certificate.loops.items()),
        *difference.describe_batch_norm(certificate.batch_norm_batches),
    ]
    return "\n".join(lines)
