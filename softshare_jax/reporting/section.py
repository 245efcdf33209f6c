"""One run as a section of the report."""

import dataclasses
import datetime
from collections.abc import Iterator

import jax
import numpy as np

from softshare_jax import sharing
from softshare_jax.reporting import (
    chart,
    comparison,
    curves,
    examples,
    headline,
    loops,
    matrices,
    scores,
    tables,
)
from softshare_jax.runs.read import Run
from softshare_jax.runs.records import History

# A page with the figures of more groups would be too long to read.
MOST_GROUPS = 8
# Of all that the sliders of a page show, before base64, and the most steps of one.
FRAME_BYTES, MOST_FRAMES = 500_000, 60


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A layer similarity matrix on the page: a table, or a picture if it is too large for one."""

    measure: str
    cells: list[list[matrices.Cell]]
    pixels: matrices.Pixels
    frames: str = ""  # its history, for the slider


@dataclasses.dataclass(frozen=True)
class Group:
    """What the page shows of a group of layers; without a history or a checkpoint, parts are empty."""

    name: str
    similarity: tuple[Matrix, ...] = ()  # at the checkpoint or, without one, as last recorded
    steps: tuple[int, ...] = ()  # of the slider
    evolution: tuple[matrices.Column, ...] = ()  # small matrices over time
    folding: tuple[loops.Row, ...] = ()  # the layers before and after


@dataclasses.dataclass(frozen=True)
class Section:
    """Everything that the page shows of a run."""

    name: str  # that of its folder
    run: Run
    sentence: str  # the result
    facts: tuple[headline.Fact, ...]
    problems: tuple[str, ...]  # a sentence for everything that is missing
    similarity_step: int | None  # of the matrices
    groups: tuple[Group, ...]
    left_out: int  # number of groups that are not shown
    poster: tuple[matrices.Column, ...]  # all groups at the times of the paper's poster
    certificate: tables.Table | None
    preview: bool
    conversion: tables.Table | None
    truncation: chart.Figure | None  # error of the weights against the number of templates
    curves: tuple[chart.Figure, ...]
    bands: bool  # whether the curves show the phases of a curriculum
    predictions: examples.Predictions
    sizes: tables.Sizes | None
    data: str  # what the images are; empty if they are not recorded
    written: str  # when the run was last written to
    result: comparison.Result | None  # None if the run is not a classifier
    saved: tuple[chart.Figure, ...]  # pictures for the folder ``figures``


def make_section(run: Run, name: str, runs: int = 1) -> Section:
    """Counts and draws what there is of a run; ``runs`` is the number of runs on the page."""
    assignment = tables.assignment(run)
    sizes = tables.sizes(run)
    fold = run.certificate or run.fold
    names = group_names(run)
    shown = names[:MOST_GROUPS]
    # The rest of what is recorded is in the report of the run that was folded.
    own: History = {
        step: {measure: at[measure] for measure in sharing.MEASURES if measure in at}
        for step, at in run.history.items()
        if step >= scores.folded_at(run)
    }
    now = own[max(own)] if own else {}
    if assignment and run.plan and run.variables:
        now = jax.device_get({m: sharing.similarity(run.plan, run.variables, m) for m in sharing.MEASURES})
    most_bytes = FRAME_BYTES // (runs * max(len(shown), 1) * len(sharing.MEASURES))
    groups = tuple(_group(one, now, own, assignment, most_bytes) for one in shown)
    times = _poster_times(run, own)
    figures = curves.draw_curves(run)
    truncation = curves.draw_truncation(run, MOST_GROUPS)
    predictions = examples.predict(run)
    files = dict(zip(names, curves.file_names(names), strict=True))
    saved: list[chart.Figure] = [*figures, *([truncation] if truncation else [])]
    for group in groups:
        saved += _group_files(group, files[group.name], now, own)
    if times:
        saved.append(matrices.save("epochs.png", times, shown))
    return Section(
        name=name,
        run=run,
        sentence=headline.sentence(run, sizes, assignment) or name,
        facts=tuple(headline.facts(run, sizes, assignment)),
        problems=(*run.problems, *filter(None, [predictions.problem])),
        similarity_step=run.step if assignment else max(own, default=None),
        groups=groups,
        left_out=len(names) - len(shown),
        poster=tuple(matrices.strip(times, shown)),
        certificate=tables.certificate_table(fold, run.fold is None) if fold else None,
        preview=assignment is not None and assignment.preview,
        conversion=tables.difference_table(run.conversion.difference) if run.conversion else None,
        truncation=truncation,
        curves=figures,
        bands=bool(curves.phase_names(run)),
        predictions=predictions,
        sizes=sizes,
        data=scores.data(run),
        written=_written(run),
        result=comparison.result(run, name, sizes),
        saved=tuple(saved),
    )


def group_names(run: Run) -> list[str]:
    """Returns the names of the groups; without a plan, those in the history."""
    if run.plan is not None:
        return [group.name for group in run.plan.groups]
    return list(dict.fromkeys(name for at in run.history.values() for by in at.values() for name in by))


def _of_group(history: History, name: str) -> dict[int, dict[str, np.ndarray]]:
    """Returns the history of a group: step -> measure -> ``[L, L]``; all steps are like the last one."""
    found = {
        step: {measure: by_group[name] for measure, by_group in at.items() if name in by_group}
        for step, at in history.items()
    }
    shapes = {step: {measure: x.shape for measure, x in at.items()} for step, at in found.items() if at}
    return {step: found[step] for step in shapes if shapes[step] == shapes[max(shapes)]}


def _spaced(history: dict[int, dict[str, np.ndarray]], number: int) -> list[int]:
    return matrices.spaced_steps({step: next(iter(at.values())) for step, at in history.items()}, number)


def _group(
    name: str, now: dict, own: History, assignment: tables.Assignment | None, most_bytes: int
) -> Group:
    history = _of_group(own, name) if len(own) > 1 else {}
    found = {measure: np.asarray(now[measure][name]) for measure in now if name in now[measure]}
    layers = max(map(len, found.values()), default=1)
    number = min(MOST_FRAMES, max(most_bytes // layers**2, 2))
    steps = _spaced(history, number) if history and layers <= matrices.TABLED else []
    return Group(
        name,
        tuple(
            Matrix(
                measure,
                matrices.cells(matrix) if layers <= matrices.TABLED else [],
                matrices.pixels(matrix),
                matrices.frames([history[s][measure] for s in steps]) if steps else "",
            )
            for measure, matrix in found.items()
        ),
        tuple(steps),
        tuple(matrices.strip(_times(history), sharing.MEASURES)),
        tuple(loops.rows(assignment.before[name], assignment.after[name])) if assignment else (),
    )


def _times(history: dict[int, dict[str, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
    return {f"step {step:,}": history[step] for step in _spaced(history, 8)} if history else {}


def _group_files(group: Group, file: str, now: dict, own: History) -> Iterator[chart.Figure]:
    for matrix in group.similarity:
        columns = {f"similarity of {matrix.measure}": {"": np.asarray(now[matrix.measure][group.name])}}
        yield matrices.save(f"similarity-{file}-{matrix.measure}.png", columns, [""], 560)
    if group.evolution:
        times = _times(_of_group(own, group.name))
        yield matrices.save(f"evolution-{file}.png", times, sharing.MEASURES)


def _poster_times(run: Run, own: History) -> dict[str, dict[str, np.ndarray]]:
    """Returns the matrices of all groups at the times of the paper's poster; none with a curriculum."""
    if run.experiment is None or run.experiment.task.phases > 1 or len(own) < 2:
        return {}
    steps = matrices.poster_steps(list(own), run.experiment.schedule.total)
    per_epoch = run.experiment.schedule.epoch
    labels = [matrices.epoch_label(step, per_epoch) for step in steps]
    # A part of an epoch has one digit, so two steps may be at the same one.
    names = [
        label if labels.count(label) == 1 else f"step {step:,}"
        for step, label in zip(steps, labels, strict=True)
    ]
    return {name: own[step].get("coefficients", {}) for name, step in zip(names, steps, strict=True)}


def _written(run: Run) -> str:
    if run.workdir is None:
        return ""
    files = [file for file in (run.workdir.config_file, run.workdir.metrics_file) if file.exists()]
    last = max((file.stat().st_mtime for file in files), default=None)
    return "" if last is None else f"{datetime.datetime.fromtimestamp(last):%Y-%m-%d %H:%M}"
