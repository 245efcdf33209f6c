"""Classifiers side by side; runs that differ in their seed alone are one line."""

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from softshare_jax.config import schema as config_lib
from softshare_jax.reporting import chart, comparison_plot, scores
from softshare_jax.reporting.tables import ParameterTable
from softshare_jax.runs.read import Run

# Fields that do not change the trained network. (The duration does, although it may change on resume.)
NO_SETTING = {"seed", "model", "data.name", *config_lib.CHANGEABLE} - {"duration"}
# Settings that are always shown unless they are zero, with the prefix to print. The others are shown if they
# tell lines apart.
ALWAYS = {
    "duration": "",
    "dropout": "dropout ",
    "data.cutout": "cutout ",
    "folded": "folded ",
    "converted": "converted ",
}


@dataclasses.dataclass(frozen=True)
class Result:
    """What one run adds to the comparison.

    Attributes:
        run: its name.
        model, data: names of its network and data set.
        settings: other fields of its config that matter, such as ``'data.cutout'``; and ``'folded'`` or
            ``'converted'`` if it was made of another run.
        shared: whether its network shares layers.
        seed, parameters: of the network.
        error, top_5: on test images, in percent; ``None`` if not measured.
        epochs, seconds: spent until then; ``None`` if not known.
        devices: used.
        fault: a sentence that says why the run cannot be compared.
    """

    run: str
    model: str
    data: str
    settings: dict[str, Any]
    shared: bool
    seed: int
    parameters: int
    error: float | None = None
    top_5: float | None = None
    epochs: float = 0.0
    seconds: float | None = None
    devices: str = ""
    fault: str = ""

    @property
    def kind(self) -> str:
        """``'unshared'``, ``'soft-shared'`` or ``'folded'``."""
        if "folded" in self.settings:
            return "folded"
        return "soft-shared" if self.shared else "unshared"


class Row(NamedTuple):
    """Runs that differ in their seed alone, as texts: the columns of the table."""

    model: str
    data: str
    settings: str
    parameters: str
    seeds: str
    error: str
    time: str
    devices: str


class Comparison(NamedTuple):
    """What the page shows of several runs together.

    Attributes:
        rows: the table.
        figure: error against parameters.
        left_out: a sentence for each run that cannot be compared.
    """

    rows: tuple[Row, ...]
    figure: chart.Figure | None
    left_out: tuple[str, ...]


def settings(config: config_lib.Config) -> dict[str, Any]:
    """Returns the fields of a config that change the trained network, without its model and data set."""
    return {field: value for field, value in config.flatten().items() if field not in NO_SETTING}


def result(run: Run, name: str, table: ParameterTable | None) -> Result | None:
    """Returns what a run adds to the comparison; ``None`` if it is not known as a classifier."""
    experiment = run.experiment
    if experiment is None or table is None or experiment.task.score != scores.ACCURACY:
        return None
    config = experiment.config
    its_settings = settings(config)
    if fold := run.certificate:
        its_settings["folded"] = f"at {fold.threshold:.4g} by {fold.measure}, step {fold.step:,}"
        if fold.batch_norm_batches:
            its_settings["folded"] += f", batch-norm re-estimated over {fold.batch_norm_batches} batches"
    if conversion := run.conversion:
        its_settings["converted"] = f"from {conversion.model.before}, step {conversion.step:,}"
    found = Result(
        run=name,
        model=config.model,
        data=config.data.name,
        settings=its_settings,
        shared=bool(experiment.plan.groups),
        seed=config.seed,
        parameters=table.parameters.total,
        devices=scores.devices(run),
        seconds=scores.seconds(run),
    )
    measured = scores.newest([one for one in scores.accuracies(run) if one.split == "test"])
    if measured is None:
        return dataclasses.replace(found, fault=f"{name} has no error on test images.")
    top_5 = (one for one in scores.accuracies(run, scores.TOP_5) if one.split == "test")
    early = measured.step < experiment.total_steps
    return dataclasses.replace(
        found,
        error=measured.error,
        top_5=next((one.error for one in top_5 if one.step == measured.step), None),
        epochs=measured.step / experiment.steps_per_epoch,
        seconds=scores.seconds(run, measured.step),
        fault=f"{name} is at step {measured.step:,} of {experiment.total_steps:,}." if early else "",
    )


def compare(results: Sequence[Result]) -> Comparison | None:
    """Compares two classifiers or more; ``None`` if there are fewer."""
    if len(results) < 2:
        return None
    groups, repeats = by_seed([one for one in results if not one.fault])
    fields = dict.fromkeys(field for one in results for field in one.settings)
    differing = {f for f in fields if len({repr(group[0].settings.get(f)) for group in groups}) > 1}
    rows = tuple(summarize(group, _shown(group[0], differing)) for group in groups)
    figure = comparison_plot.draw([_point(group) for group in groups]) if groups else None
    return Comparison(rows, figure, (*(one.fault for one in results if one.fault), *repeats))


def by_seed(results: Sequence[Result]) -> tuple[list[list[Result]], list[str]]:
    """Groups runs that differ in their seed alone; also returns a sentence for each repeated run."""
    groups: dict[tuple, dict[int, Result]] = {}
    repeats = []
    for one in results:
        same = groups.setdefault((one.model, one.data, one.epochs, repr(one.settings)), {})
        if one.seed in same:
            repeats.append(f"{one.run} repeats {same[one.seed].run}: the seed is the same.")
        else:
            same[one.seed] = one
    return [list(group.values()) for group in groups.values()], repeats


def _shown(one: Result, differing: set[str]) -> list[str]:
    others = [field for field in one.settings if field not in ALWAYS and field in differing]
    return [*(field for field in ALWAYS if one.settings.get(field)), *others]


def summarize(group: Sequence[Result], fields: Iterable[str]) -> Row:
    """Returns runs that differ in their seed alone as texts; ``fields`` are the settings to name."""
    first = group[0]
    parameters = sorted({one.parameters for one in group})
    times = [one.seconds for one in group if one.seconds is not None]
    return Row(
        first.model,
        first.data,
        ", ".join(f"{ALWAYS.get(field, field + ' ')}{first.settings[field]}" for field in fields),
        " to ".join(f"{number:,}" for number in dict.fromkeys((parameters[0], parameters[-1]))),
        str(len(group)),
        percent([one.error for one in group if one.error is not None]),
        scores.duration(statistics.mean(times)) if times else "–",
        "; ".join(dict.fromkeys(one.devices for one in group if one.devices)) or "–",
    )


def percent(errors: Sequence[float]) -> str:
    """Returns the mean of errors and their sample standard deviation; a single error has none."""
    mean = f"{statistics.mean(errors):.2f}"
    return f"{mean} ± {statistics.stdev(errors):.2f}%" if len(errors) > 1 else f"{mean}%"


def _point(group: Sequence[Result]) -> comparison_plot.Point:
    first, errors = group[0], [one.error for one in group if one.error is not None]
    return comparison_plot.Point(
        label=first.model + (", folded" if first.kind == "folded" else ""),
        millions=statistics.mean(one.parameters for one in group) / 1e6,
        error=statistics.mean(errors),
        deviation=statistics.stdev(errors) if len(errors) > 1 else 0.0,
        kind=first.kind,
        panel=(first.data, bool(first.settings.get("data.cutout"))),
    )
