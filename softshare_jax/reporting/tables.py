"""The numbers of the report: distinct layers, parameters, and what a change saved and cost."""

import math
from typing import Any, NamedTuple

from softshare_jax import sharing
from softshare_jax.reporting import scores
from softshare_jax.runs.artifacts import Certificate, Difference
from softshare_jax.runs.read import Run
from softshare_jax.sharing.parameters import Parameters, count
from softshare_jax.training.experiment import Experiment

PREVIEW_THRESHOLD = 0.9
Layers = dict[str, tuple[int, ...]]


class Assignment(NamedTuple):
    """For each layer the first layer with the same weight, ``{group: [L]}``.

    Attributes:
        before: unfolded: each layer has its own, however similar they are.
        now: in the checkpoint.
        after: folded; for a run that is not, a preview.
    """

    before: Layers
    now: Layers
    after: Layers


def assignment(run: Run) -> Assignment | None:
    """Returns which layers have one weight; ``None`` without shared layers or a checkpoint."""
    if run.plan is None or not run.plan.groups or run.variables is None:
        return None
    before = {group.name: tuple(range(group.layers)) for group in run.plan.groups}
    if run.certificate is not None:
        now = sharing.distinct_layers(run.plan, run.variables)
        return Assignment(before, now, now)
    preview = sharing.fold(run.plan, run.variables, PREVIEW_THRESHOLD, "weights")
    return Assignment(before, before, sharing.distinct_layers(*preview))


def distinct(layers: Layers) -> int:
    """Returns the number of distinct weights in all groups."""
    return sum(len(set(group)) for group in layers.values())


class ParameterRow(NamedTuple):
    """A group in the table of parameters."""

    group: str
    shape: str
    layers: int
    templates: int
    template_parameters: int
    coefficients: int
    unshared: int


class ParameterTable(NamedTuple):
    """Where the parameters are.

    Attributes:
        rows: by group.
        parameters: of the network.
        unshared: of the same network with a weight of its own for every layer.
    """

    rows: tuple[ParameterRow, ...]
    parameters: Parameters
    unshared: int

    @property
    def fraction(self) -> float:
        """Parameters as a fraction of those of the unshared network."""
        return self.parameters.total / self.unshared


def parameter_table(experiment: Experiment) -> ParameterTable:
    """Counts the parameters of a run from its shapes alone; no checkpoint is needed."""
    rows = []
    for group in experiment.plan.groups:
        size, k, layers = math.prod(group.shape), group.templates, group.layers
        shape = "×".join(map(str, group.shape))
        rows.append(ParameterRow(group.name, shape, layers, k, k * size, layers * k, layers * size))
    parameters = count(experiment.state_shapes().variables)
    return ParameterTable(tuple(rows), parameters, parameters.private + sum(row.unshared for row in rows))


# What, before, after, difference.
Row = tuple[str, str, str, str]


def certificate_rows(certificate: Certificate) -> list[Row]:
    """Returns the lines of a certificate."""
    layers, shared = certificate.distinct_layers, f"of {certificate.shared_layers} shared"
    parameters, *others = difference_rows(certificate.difference)
    return [parameters, ("distinct layers", str(layers.before), str(layers.after), shared), *others]


def difference_rows(difference: Difference) -> list[Row]:
    """Returns what a fold or a conversion saved and cost."""
    parameters, metric = difference.parameters, difference.metric
    name, before, after = shown_pair(difference)
    change = (
        f"{100 * metric.drop:+.2f} points" if metric.name == scores.ACCURACY else f"{-metric.drop:+.4f}"
    )
    return [
        ("parameters", f"{parameters.before:,}", f"{parameters.after:,}", f"{parameters.kept:.1%}"),
        (f"test {name}", before, after, change.replace("-", "−")),
        ("largest logit difference", "", f"{difference.max_logit_difference:.3g}", ""),
    ]


def shown_pair(difference: Difference) -> tuple[str, str, str]:
    """Returns the name of the score, and its value before and after."""
    metric = difference.metric
    (name, before), (_, after) = (scores.shown(metric.name, v) for v in (metric.before, metric.after))
    return name, before, after


def config_fields(run: Run) -> list[tuple[str, Any]]:
    """Returns the fields of the config; none without one."""
    return [] if run.config is None else [(name, value) for name, value in run.config.flatten().items()]
