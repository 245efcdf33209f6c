"""The charts of a run: loss and score over training, and what its weights lost in a conversion."""

import itertools
import re
from collections.abc import Sequence

from softshare_jax.reporting import chart, scores, theme
from softshare_jax.runs.read import Run
from softshare_jax.runs.records import Record


def draw_curves(run: Run) -> tuple[chart.Figure, ...]:
    """Draws loss and score over training, as far as the run itself recorded them."""
    if run.workdir is None:
        return draw_scalars(run.records)
    records = [record for record in run.records if record.step > scores.folded_at(run)]
    names, score, evaluated = phase_names(run), scores.name_of(run), scores.evaluated(run)
    bands = [
        chart.Band(names[phase] if phase < len(names) else f"phase {phase + 1}", start, stop)
        for phase, start, stop in (phase_bands(records) if names else ())
    ]
    # With a curriculum, a run is also measured on its last phase. Without one, and with held-out images, the
    # test split is measured at the end alone.
    others = {
        f"eval/{score}": (evaluated + (", current phase" if names else ""), "now"),
        **({f"target/{score}": (f"{evaluated}, last phase", "target")} if names else {}),
        **({} if names else {f"test/{score}": ("test", "target")}),
    }
    figures = []
    for title, keys, log_scale in (
        ("loss", {"train/loss": ("training", "train"), "eval/loss": (evaluated, "now")}, True),
        (score, {f"train/{score}": ("training", "train"), **others}, False),
    ):
        lines = [
            chart.Line(label, color, [(r.step, r.scalars[key]) for r in records if key in r.scalars])
            for key, (label, color) in keys.items()
        ]
        if lines := [line for line in lines if line.points]:
            (file,) = file_names([title])
            figures.append(chart.curves(f"{file}.svg", scores.label(title), "step", lines, log_scale, bands))
    return tuple(figures)


def draw_scalars(records: Sequence[Record]) -> tuple[chart.Figure, ...]:
    """Draws all scalars of a loop outside this package.

    Scalars whose names end alike, such as ``loss``, ``val_loss`` and ``test/loss``, are lines of one chart.
    """
    names = list(dict.fromkeys(name for record in records for name in record.scalars))
    charts: dict[str, list[str]] = {}
    for name in names:
        ends = [other for other in names if name == other or name.endswith((f"_{other}", f"/{other}"))]
        charts.setdefault(min(ends, key=len), []).append(name)
    figures = []
    for file, (title, of_chart) in zip(file_names(list(charts)), charts.items(), strict=True):
        lines = [
            chart.Line(
                scores.label(name),
                f"c{place % len(theme.SHARED)}",
                [(record.step, record.scalars[name]) for record in records if name in record.scalars],
            )
            for place, name in enumerate(of_chart)
        ]
        values = [value for line in lines for _, value in line.points]
        log_scale = title.endswith("loss") and min(values) > 0
        figures.append(
            chart.curves(f"{file}.svg", scores.label(title), "step", lines, log_scale, y=chart.linear(values))
        )
    return tuple(figures)


def draw_truncation(run: Run, most: int) -> chart.Figure | None:
    """Draws what the weights lost, if the run was given other numbers of templates; ``most`` groups."""
    if run.conversion is None or not run.conversion.groups:
        return None
    return chart.curves(
        "error-against-k.svg",
        "relative error of the weights",
        "template",
        [
            chart.Line(
                f"{group.name}, k = {group.templates}"
                + (f", fitted {group.fitted_error:.3f}" if group.fitted_error is not None else ""),
                f"c{place}",
                list(enumerate(group.relative_error, start=1)),
                group.templates,
            )
            for place, group in enumerate(run.conversion.groups[:most])
        ],
    )


def phase_names(run: Run) -> list[str]:
    """Returns the names of the phases of a curriculum; numbers without a config."""
    if run.experiment is not None:
        task = run.experiment.task
        names = [task.phase_name(phase) for phase in range(task.phases)]
    else:
        last = max((band[0] for band in phase_bands(run.records)), default=-1)
        names = [f"phase {phase + 1}" for phase in range(last + 1)]
    return names if len(names) > 1 else []


def phase_bands(records: Sequence[Record]) -> list[tuple[int, int, int]]:
    """Returns the phases of a run as ``(phase, start, stop)`` in steps.

    A record stands at the end of the steps that it sums up, so a phase lasts from the last record of the one
    before to its own last record.
    """
    bands: list[tuple[int, int, int]] = []
    start = 0
    for step, scalars in records:
        if (phase := int(scalars.get("phase", -1))) >= 0:
            if bands and bands[-1][0] == phase:
                bands[-1] = (phase, bands[-1][1], step)
            else:
                bands.append((phase, start, step))
        start = step
    return bands


def file_names(names: Sequence[str]) -> list[str]:
    """Returns names that are safe in the name of a file, each different."""
    plain = [re.sub(r"[^\w.-]+", "-", name).strip("-.") or "group" for name in names]
    found: list[str] = []
    for name in plain:
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        free = (one for one in itertools.chain([name], numbered) if one not in found)
        # A name that needs no number keeps it from another one that does.
        found.append(next(one for one in free if one == name or one not in plain))
    return found
