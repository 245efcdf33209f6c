"""The numbers of the report."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from softshare_jax import sharing
from softshare_jax.reporting import scores
from softshare_jax.sharing.loops import Step
from softshare_jax.sharing.parameters import Parameters, count
from softshare_jax.training.experiment import Experiment

PREVIEW_THRESHOLD = 0.9


class Assignment(NamedTuple):
    """Which layers have one weight: for each layer the first layer with the same one.

    Attributes:
        before: unfolded, ``{group: [L]}``: each layer its own, however similar they are.
        now: as the checkpoint has it.
        after: as it is folded, or would be.
    """

    before: dict[str, tuple[int, ...]]
    now: dict[str, tuple[int, ...]]
    after: dict[str, tuple[int, ...]]


def assignment(plan: sharing.Plan, variables: dict[str, Any], folded: bool) -> Assignment:
    """Returns which layers have one weight.

    Args:
        plan: of the run.
        variables: of its checkpoint.
        folded: whether the run is a folded one. Otherwise ``after`` is a preview: its fold at
            the similarity 0.9 of the weights.
    """
    before = {group.name: tuple(range(group.layers)) for group in plan.groups}
    if folded:
        now = sharing.distinct_layers(plan, variables)
        return Assignment(before, now, now)
    preview = sharing.fold(plan, variables, PREVIEW_THRESHOLD, "weights")
    return Assignment(before, before, sharing.distinct_layers(*preview))


def distinct(layers: dict[str, tuple[int, ...]]) -> int:
    """Returns the number of distinct weights in all groups."""
    return sum(len(set(group)) for group in layers.values())


def written_as_loops(layers: Sequence[int]) -> str:
    """Returns a sequence as loops, ``'1 2 (3 4)×4'``, where runs of layers are shortened to ``'1–9'``."""
    return _shorten(sharing.find_loops(layers))


def _shorten(steps: Sequence[Step]) -> str:
    parts: list[str] = []
    start = 0
    while start < len(steps):
        step = steps[start]
        if isinstance(step, sharing.Loop):
            parts.append(f"({_shorten(step.body)})×{step.times}")
            start += 1
            continue
        stop = start + 1
        while stop < len(steps) and steps[stop] == step + stop - start:
            stop += 1
        numbers = [str(step + 1 + offset) for offset in range(stop - start)]
        parts += numbers if len(numbers) < 5 else [f"{numbers[0]}–{numbers[-1]}"]
        start = stop
    return " ".join(parts)


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
        parameters: of the network, as they are counted everywhere.
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
    variables = experiment.programs.state_shapes().variables
    rows = []
    for group in experiment.plan.groups:
        size = math.prod(group.shape)
        rows.append(
            ParameterRow(
                group.name,
                "×".join(map(str, group.shape)),
                group.layers,
                group.templates,
                group.templates * size,
                group.layers * group.templates,
                group.layers * size,
            )
        )
    parameters = count(variables)
    return ParameterTable(tuple(rows), parameters, parameters.private + sum(row.unshared for row in rows))


class Score(NamedTuple):
    """The score by which a run is judged, and the step at which it was measured."""

    value: float
    step: int


def score(
    records: Iterable[dict], name: str, step: int | None, certificate: dict[str, Any] | None
) -> Score | None:
    """Returns the score of a checkpoint on the last phase, as it was measured.

    Args:
        records: of ``metrics.jsonl``.
        name: of the metric.
        step: of the checkpoint; ``None`` for the last record.
        certificate: of a folded run. Its records up to that step are those of its source, so its own
            score is the certificate's until it is trained on.

    Returns:
        The score at the step or at the last evaluation before it, or ``None`` where there is none.
    """
    key = f"target/{name}"
    measured = [
        Score(record[key], record["step"])
        for record in records
        if isinstance(record.get(key), float | int) and (step is None or record["step"] <= step)
    ]
    if certificate is not None:
        measured = [one for one in measured if one.step > certificate["step"]]
        measured.insert(0, Score(certificate["metric"]["after"], certificate["step"]))
    return measured[-1] if measured else None


Row = tuple[str, str, str, str]


def certificate_rows(certificate: dict[str, Any]) -> list[Row]:
    """Returns the lines of a certificate: what, before, after, difference."""
    layers, shared = certificate["distinct_layers"], f"of {certificate['shared_layers']} shared"
    parameters, *others = difference_rows(certificate)
    return [parameters, ("distinct layers", str(layers["before"]), str(layers["after"]), shared), *others]


def difference_rows(difference: dict[str, Any]) -> list[Row]:
    """Returns what a fold or a conversion saved and cost: what, before, after, difference."""
    parameters, metric = difference["parameters"], difference["metric"]
    kept = parameters["after"] / parameters["before"]
    shown = [scores.shown(metric["name"], metric[when]) for when in ("before", "after")]
    fall = metric["after"] - metric["before"]
    change = f"{-100 * fall:+.2f} points" if metric["name"] == scores.ACCURACY else f"{fall:+.4f}"
    logits = f"{difference['max_logit_difference']:.3g}"
    return [
        ("parameters", f"{parameters['before']:,}", f"{parameters['after']:,}", f"{kept:.1%}"),
        (f"test {shown[0][0]}", shown[0][1], shown[1][1], change.replace("-", "−")),
        ("largest logit difference", "", logits, ""),
    ]
