"""The tables of the report, and the numbers in them."""

from collections.abc import Sequence
from typing import NamedTuple

from softshare_jax import sharing
from softshare_jax.reporting import scores
from softshare_jax.runs.artifacts import Certificate, Difference
from softshare_jax.runs.read import Run
from softshare_jax.sharing import parameters
from softshare_jax.sharing.group import size

PREVIEW_THRESHOLD = 0.9
Layers = dict[str, tuple[int, ...]]


class Table(NamedTuple):
    """A table of texts."""

    label: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int = 1  # the first column with numbers
    total: bool = False  # whether the last line is the total


class Assignment(NamedTuple):
    """For each layer the first layer with the same weight, ``{group: [L]}``."""

    before: Layers  # unfolded: each layer has its own, however similar they are
    now: Layers  # in the checkpoint
    after: Layers  # folded
    preview: bool  # whether nobody has folded it yet: ``after`` is what a fold would make


def assignment(run: Run) -> Assignment | None:
    """Returns which layers have one weight; ``None`` without shared layers or a checkpoint."""
    if run.plan is None or not run.plan.groups or run.variables is None:
        return None
    before = {group.name: tuple(range(group.layers)) for group in run.plan.groups}
    # A run may be folded and have no certificate: one that ``convert --folded`` lengthened.
    folded = [group.name for group in run.plan.groups if group.assignment is not None]
    found = sharing.distinct_layers(run.plan, run.variables) if folded else {}
    now = {**before, **{name: found[name] for name in folded}}
    if run.fold is not None:
        return Assignment(before, now, dict(run.fold.layers), False)
    if folded:
        return Assignment(before, now, now, False)
    preview = sharing.fold(run.plan, run.variables, PREVIEW_THRESHOLD, "weights")
    return Assignment(before, before, sharing.distinct_layers(*preview), True)


def distinct(layers: Layers) -> int:
    """Returns the number of distinct weights in all groups."""
    return sum(len(set(group)) for group in layers.values())


class Sizes(NamedTuple):
    """The parameters of a network, and of the same network with a weight of its own for every layer."""

    total: int
    unshared: int
    table: Table

    @property
    def fraction(self) -> float:
        """Parameters as a fraction of those of the unshared network."""
        return self.total / self.unshared


def sizes(run: Run) -> Sizes | None:
    """Counts the parameters of a run from its shapes alone; ``None`` if these or the plan are unknown."""
    variables = run.variables if run.experiment is None else run.experiment.programs.state_shapes().variables
    if variables is None or run.plan is None:
        return None
    plan = run.plan if run.experiment is None else run.experiment.plan
    counts = parameters.count(variables)
    rows, unshared = [], counts.private
    # Residuals have a column only if a group has them.
    parts = [name for name in ("templates", "coefficients", "residuals") if name in plan.collections]
    for group in plan.groups:
        of = group.counts
        numbers = (group.layers, group.templates, *(getattr(of, part) for part in parts), of.shared, of.dense)
        rows.append([group.name, size(group.shape), *(f"{n:,}" for n in numbers)])
        unshared += of.dense
    for name, *both in (
        ("private", counts.private, counts.private),
        ("total", counts.total, unshared),
    ):
        rows.append([name, *[""] * (3 + len(parts)), *(f"{n:,}" for n in both)])
    header = ("group", "shape", "layers", "k", *parts, "total", "unshared")
    return Sizes(counts.total, unshared, Table("Parameters by group", header, rows, 2, True))


def certificate_table(certificate: Certificate, of_run: bool = True) -> Table:
    """Returns what a fold saved and cost; ``of_run`` as for ``difference_table``."""
    layers, shared = certificate.distinct_layers, f"of {certificate.shared_layers} shared"
    first, *others = difference_table(certificate.difference, of_run).rows
    rows = [first, ("distinct layers", str(layers.before), str(layers.after), shared), *others]
    return Table("Certificate of the fold", ("what", "before", "after", "change"), rows)


def difference_table(difference: Difference, of_run: bool = True) -> Table:
    """Returns what a conversion, too, saved and cost.

    A run is measured on test examples and gives logits. Other networks have data and outputs of any kind.
    """
    numbers, metric = difference.parameters, difference.metric
    name, before, after = shown_pair(difference)
    output = "logit" if of_run else "output"
    points = scores.is_accuracy(metric.name, metric.before)
    change = f"{100 * metric.drop:+.2f} points" if points else f"{-metric.drop:+.4f}"
    rows = [
        ("parameters", f"{numbers.before:,}", f"{numbers.after:,}", f"{numbers.kept:.1%}"),
        (f"test {name}" if of_run else name, before, after, change.replace("-", "−")),
        (f"largest {output} difference", "", f"{difference.max_logit_difference:.3g}", ""),
    ]
    return Table("Conversion", ("what", "before", "after", "change"), rows)


def shown_pair(difference: Difference) -> tuple[str, str, str]:
    """Returns the name of the score, and its value before and after."""
    metric = difference.metric
    (name, before), (_, after) = (scores.shown(metric.name, v) for v in (metric.before, metric.after))
    return name, before, after
