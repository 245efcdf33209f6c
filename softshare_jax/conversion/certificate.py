"""The certificate of a fold: what was lost and what was saved, measured."""

from softshare_jax import sharing
from softshare_jax.conversion import difference
from softshare_jax.runs.artifacts import Certificate, Counts
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
    # Before the fold every layer that mixes templates counts, however similar it is to another.
    groups = before.experiment.plan.groups
    distinct = sum(len(set(group.assignment or range(group.layers))) for group in groups)
    layers = sharing.distinct_layers(after.experiment.plan, after.variables)
    return Certificate(
        step=before.step,
        difference=difference.measure(before, after),
        source=source,
        batch_norm_batches=batch_norm_batches,
        model=before.experiment.config.model,
        measure=measure,
        threshold=threshold,
        shared_layers=sum(group.layers for group in groups),
        distinct_layers=Counts(distinct, sum(len(set(group)) for group in layers.values())),
        loops={name: sharing.format_loops(sharing.find_loops(group)) for name, group in layers.items()},
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
