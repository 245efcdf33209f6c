"""Classifiers side by side; runs that differ in their seed alone are one line."""

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from softshare_jax import config as config_lib
from softshare_jax.reporting import chart, comparison_plot, scores
from softshare_jax.reporting.tables import Sizes, Table
from softshare_jax.runs.read import Run

# Fields that do not change the trained network. (The duration does, although it may change on resume.)
NO_SETTING = {"seed", "model", "data.name", *config_lib.MAY_CHANGE} - {"duration"}
# Settings that are always shown unless they are zero, with the prefix to print. The others are shown if they
# tell lines apart.
ALWAYS = {
    "duration": "",
    "dropout_rate": "dropout ",
    "data.cutout": "cutout ",
    "folded": "folded ",
    "converted": "converted ",
    "images": "images: ",
}


@dataclasses.dataclass(frozen=True)
class Result:
    """What one run adds to the comparison; ``fault`` is a sentence if it cannot be compared."""

    run: str
    config: config_lib.Config
    settings: dict[str, Any]  # other fields of the config, and 'folded', 'converted' and 'images'
    kind: str  # 'unshared', 'soft-shared' or 'folded'
    parameters: int
    devices: str
    error: float | None = None  # on test images, in percent
    top_5: float | None = None
    epochs: float = 0.0  # spent until then
    seconds: float | None = None
    fault: str = ""


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
    """What the page shows of several runs together, and a sentence for each run that is left out."""

    table: Table
    figure: chart.Figure | None
    left_out: tuple[str, ...]


def settings(config: config_lib.Config) -> dict[str, Any]:
    """Returns the fields of a config that change the trained network, without its model and data set."""
    return {field: value for field, value in config.flatten().items() if field not in NO_SETTING}


def result(run: Run, name: str, sizes: Sizes | None) -> Result | None:
    """Returns what a run adds to the comparison; ``None`` if it is not known as a classifier."""
    experiment = run.experiment
    if experiment is None or sizes is None or experiment.task.score != scores.ACCURACY:
        return None
    its_settings, kind = settings(experiment.config), "soft-shared" if experiment.plan.groups else "unshared"
    if fold := run.certificate:
        kind = "folded"
        its_settings[kind] = f"at {fold.threshold:.4g} by {fold.measure}, step {fold.step:,}"
        if fold.batch_norm_batches:
            its_settings[kind] += f", batch-norm re-estimated over {fold.batch_norm_batches} batches"
    if conversion := run.conversion:
        its_settings["converted"] = f"from {conversion.model.before}, step {conversion.step:,}"
    if images := scores.images(run):
        its_settings["images"] = images
    found = Result(name, experiment.config, its_settings, kind, sizes.total, scores.devices(run))
    measured = scores.newest([one for one in scores.accuracies(run) if one.split == "test"])
    if measured is None:
        return dataclasses.replace(found, fault=f"{name} has no error on test images.")
    top_5 = [one for one in scores.accuracies(run, scores.TOP_5) if one[1:] == measured[1:]]
    early = measured.step < experiment.schedule.total
    return dataclasses.replace(
        found,
        error=measured.error,
        top_5=top_5[0].error if top_5 else None,
        epochs=measured.step / experiment.schedule.epoch,
        seconds=scores.seconds(run, measured.step),
        fault=f"{name} is at step {measured.step:,} of {experiment.schedule.total:,}." if early else "",
    )


def compare(results: Sequence[Result]) -> Comparison | None:
    """Compares two classifiers or more; ``None`` if there are fewer."""
    if len(results) < 2:
        return None
    groups, repeats = by_seed([one for one in results if not one.fault])
    fields = dict.fromkeys(field for one in results for field in one.settings)
    differing = {f for f in fields if len({repr(group[0].settings.get(f)) for group in groups}) > 1}
    header = ("model", "data set", "settings", "parameters", "seeds", "test error", "time", "device")
    rows = [summarize(group, _shown(group[0], differing)) for group in groups]
    return Comparison(
        Table("Comparison of the runs", header, rows, 3),
        comparison_plot.draw([_point(group) for group in groups]) if groups else None,
        (*(one.fault for one in results if one.fault), *repeats),
    )


def by_seed(results: Sequence[Result]) -> tuple[list[list[Result]], list[str]]:
    """Groups runs that differ in their seed alone; also returns a sentence for each repeated run."""
    groups: dict[tuple, dict[int, Result]] = {}
    repeats = []
    for one in results:
        config = one.config
        same = groups.setdefault((config.model, config.data.name, one.epochs, repr(one.settings)), {})
        if config.seed in same:
            repeats.append(f"{one.run} repeats {same[config.seed].run}: the seed is the same.")
        else:
            same[config.seed] = one
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
        first.config.model,
        first.config.data.name,
        ", ".join(f"{ALWAYS.get(field, field + ' ')}{first.settings[field]}" for field in fields),
        " to ".join(f"{number:,}" for number in dict.fromkeys((parameters[0], parameters[-1]))),
        str(len(group)),
        percent([one.error for one in group]),
        scores.duration(statistics.mean(times)) if times else "–",
        "; ".join(dict.fromkeys(one.devices for one in group if one.devices)) or "–",
    )


def percent(errors: Iterable[float | None]) -> str:
    """Returns the mean of errors and their sample standard deviation; a single error has none."""
    mean, deviation = _spread(errors)
    return f"{mean:.2f}%" if deviation is None else f"{mean:.2f} ± {deviation:.2f}%"


def _spread(errors: Iterable[float | None]) -> tuple[float, float | None]:
    known = [one for one in errors if one is not None]
    return statistics.mean(known), statistics.stdev(known) if len(known) > 1 else None


def _point(group: Sequence[Result]) -> comparison_plot.Point:
    first = group[0]
    mean, deviation = _spread(one.error for one in group)
    return comparison_plot.Point(
        label=first.config.model + (", folded" if first.kind == "folded" else ""),
        millions=statistics.mean(one.parameters for one in group) / 1e6,
        error=mean,
        deviation=deviation or 0.0,
        kind=first.kind,
        panel=(first.config.data.name, bool(first.settings.get("data.cutout"))),
    )
