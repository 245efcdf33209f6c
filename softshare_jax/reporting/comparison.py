"""Runs of classifiers side by side, those that differ in their seed alone as one line."""

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from softshare_jax import config as config_lib
from softshare_jax.reporting import comparison_plot, cost, scores
from softshare_jax.reporting.collect import Run
from softshare_jax.reporting.picture import Picture
from softshare_jax.reporting.tables import ParameterTable

# What makes no other network of a run; unlike the other changeable fields its duration does.
NO_SETTING = {"seed", "model", "data.name", *config_lib.MAY_CHANGE} - {"duration"}
# Settings that stand in the table in any case, unless they are zero: what comes before their value.
# The others stand there where they tell lines apart.
ALWAYS = {
    "duration": "",
    "dropout_rate": "dropout ",
    "data.cutout": "cutout ",
    "folded": "folded ",
    "converted": "converted ",
}


@dataclasses.dataclass(frozen=True)
class Result:
    """What one run adds to the comparison.

    Attributes:
        run: its name.
        model, data: the names of its network and data set.
        settings: the other fields of its config that matter, such as ``'data.cutout'``; and ``'folded'``
            or ``'converted'`` for a run that was made of another one.
        shared: whether its network shares layers.
        seed: of its random numbers.
        parameters: their number.
        error: on test images, in percent.
        top_5: how often the class is not among the five likeliest, in percent; ``None`` where that was
            not measured.
        epochs: after so many the errors were measured.
        seconds: spent until then, ``None`` where that is not known.
        devices: on which.
        fault: a sentence that says why it cannot be compared.
    """

    run: str
    model: str
    data: str
    settings: dict[str, Any]
    shared: bool
    seed: int
    parameters: int
    error: float = float("nan")
    top_5: float | None = None
    epochs: float = float("nan")
    seconds: float | None = None
    devices: str = ""
    fault: str = ""

    @property
    def kind(self) -> str:
        """What the plot calls such networks: ``'unshared'``, ``'soft-shared'`` or ``'folded'``."""
        if "folded" in self.settings:
            return "folded"
        return "soft-shared" if self.shared else "unshared"

    @property
    def cutout(self) -> bool:
        """Whether its training images have a hole."""
        return bool(self.settings.get("data.cutout"))


@dataclasses.dataclass(frozen=True)
class Row:
    """Runs that differ in their seed alone, as texts for the table.

    Attributes:
        model, data, settings: what they are.
        parameters: their number, or the lowest and highest one.
        seeds: number of runs.
        error: mean and sample standard deviation of the test error.
        time: mean time spent.
        devices: on which.
    """

    model: str
    data: str
    settings: str
    parameters: str
    seeds: str
    error: str
    time: str
    devices: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What the page shows of several runs together.

    Attributes:
        rows: the table.
        picture: error against parameters.
        left_out: a sentence for each run that cannot be compared.
    """

    rows: tuple[Row, ...]
    picture: Picture | None
    left_out: tuple[str, ...]


def settings(config: config_lib.Config) -> dict[str, Any]:
    """Returns the fields of a config that make another network of a run, but for its model and data set."""
    return {field: value for field, value in config.flatten().items() if field not in NO_SETTING}


def result(run: Run, name: str, table: ParameterTable | None) -> Result | None:
    """Returns what a run adds to the comparison; ``None`` where it is not known as a classifier."""
    experiment = run.experiment
    if experiment is None or table is None or experiment.task.score != scores.ACCURACY:
        return None
    config = experiment.config
    its_settings = settings(config)
    if run.certificate is not None:
        fold = run.certificate
        its_settings["folded"] = f"at {fold['threshold']:.4g} by {fold['measure']}, step {fold['step']:,}"
        if batches := fold.get("batch_norm_batches"):
            its_settings["folded"] += f", batch-norm anew over {batches} batches"
    if run.conversion is not None:
        its_settings["converted"] = (
            f"from {run.conversion['model']['before']}, step {run.conversion['step']:,}"
        )
    measured = scores.newest([one for one in scores.accuracies(run) if one.split == "test"])
    top_5 = [one for one in scores.accuracies(run, scores.TOP_5) if one.split == "test"]
    fault = ""
    if measured is None:
        fault = f"{name} has no error on test images."
    elif measured.step < experiment.schedule.total:
        fault = f"{name} is at step {measured.step:,} of {experiment.schedule.total:,}."
    return Result(
        run=name,
        model=config.model,
        data=config.data.name,
        settings=its_settings,
        shared=bool(experiment.plan.groups),
        seed=config.seed,
        parameters=table.parameters.total,
        error=float("nan") if measured is None else measured.error,
        top_5=next((one.error for one in top_5 if measured and one.step == measured.step), None),
        epochs=float("nan") if measured is None else measured.step / experiment.schedule.epoch,
        seconds=cost.seconds(run, None if measured is None else measured.step),
        devices=cost.devices(run),
        fault=fault,
    )


def compare(results: Sequence[Result]) -> Comparison | None:
    """Compares two classifiers or more; ``None`` where there are fewer."""
    if len(results) < 2:
        return None
    grouped, repeats = by_seed([one for one in results if not one.fault])
    fields = dict.fromkeys(field for one in results for field in one.settings)
    differing = {f for f in fields if len({repr(group[0].settings.get(f)) for group in grouped}) > 1}
    rows = tuple(summarize(group, _shown(group[0], differing)) for group in grouped)
    points = [_point(group) for group in grouped]
    picture = comparison_plot.draw_comparison(points) if points else None
    return Comparison(rows, picture, (*(one.fault for one in results if one.fault), *repeats))


def by_seed(results: Sequence[Result]) -> tuple[list[list[Result]], list[str]]:
    """Returns together what differs in its seed alone, and a sentence for each run that repeats another."""
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
    """Returns the settings that stand in the table, those first that stand there in any case."""
    others = [field for field in one.settings if field not in ALWAYS and field in differing]
    return [*(field for field in ALWAYS if one.settings.get(field)), *others]


def summarize(group: Sequence[Result], fields: Iterable[str]) -> Row:
    """Returns runs that differ in their seed alone as texts; fields are the settings to name."""
    first = group[0]
    settings = [f"{ALWAYS.get(field, field + ' ')}{first.settings[field]}" for field in fields]
    parameters = sorted({one.parameters for one in group})
    times = [one.seconds for one in group if one.seconds is not None]
    return Row(
        first.model,
        first.data,
        ", ".join(settings),
        f"{parameters[0]:,}" if len(parameters) == 1 else f"{parameters[0]:,} to {parameters[-1]:,}",
        str(len(group)),
        percent([one.error for one in group]),
        cost.duration(statistics.mean(times)) if times else "–",
        "; ".join(dict.fromkeys(one.devices for one in group if one.devices)) or "–",
    )


def percent(errors: Sequence[float]) -> str:
    """Returns the mean of errors and their sample standard deviation, of one there is none."""
    mean, deviation = _spread(errors)
    return f"{mean:.2f}%" if deviation is None else f"{mean:.2f} ± {deviation:.2f}%"


def _spread(errors: Sequence[float]) -> tuple[float, float | None]:
    return statistics.mean(errors), statistics.stdev(errors) if len(errors) > 1 else None


def _point(group: Sequence[Result]) -> comparison_plot.Point:
    first = group[0]
    mean, deviation = _spread([one.error for one in group])
    folded = ", folded" if first.kind == "folded" else ""
    return comparison_plot.Point(
        label=f"{first.model}{folded}",
        millions=statistics.mean(one.parameters for one in group) / 1e6,
        error=mean,
        deviation=deviation or 0.0,
        kind=first.kind,
        panel=(first.data, first.cutout),
    )
