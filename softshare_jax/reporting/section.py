"""One run as a section of the report."""

import dataclasses
import datetime
import logging
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from softshare_jax import sharing
from softshare_jax.reporting import chart, comparison, examples, loops, matrices, scores, tables
from softshare_jax.runs.read import Run
from softshare_jax.runs.records import History, Record

# A page with the figures of more groups would be too long to read.
MOST_GROUPS = 8
# Of all that the sliders of a page show, before base64, and the most steps of one.
FRAME_BYTES, MOST_FRAMES = 500_000, 60
log = logging.getLogger(__name__)


class Fact(NamedTuple):
    """A number with its name and, where needed, a remark."""

    name: str
    value: str
    remark: str = ""


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A layer similarity matrix on the page.

    Attributes:
        measure: what was compared.
        cells: as a table; empty if it is too large for one.
        pixels: as a picture, if it is too large.
        frames: its history for the slider.
    """

    measure: str
    cells: list[list[matrices.Cell]]
    pixels: matrices.Pixels
    frames: str = ""


@dataclasses.dataclass(frozen=True)
class Group:
    """What the page shows of a group of layers; what there is nothing of is empty.

    Attributes:
        name: of the group.
        similarity: at the checkpoint or, without one, as last recorded.
        steps: of the slider.
        evolution: small matrices over time.
        folding: the layers before and after.
    """

    name: str
    similarity: tuple[Matrix, ...] = ()
    steps: tuple[int, ...] = ()
    evolution: tuple[matrices.Column, ...] = ()
    folding: tuple[loops.Row, ...] = ()


@dataclasses.dataclass(frozen=True)
class Section:
    """Everything that the page shows of a run.

    Attributes:
        name: of the run: that of its folder.
        run: as it was read.
        headline: the result in a sentence.
        facts: the numbers beneath it.
        problems: a sentence for everything that is missing.
        similarity_step: of the matrices.
        groups: one by one; ``left_out`` more are not shown.
        poster: all groups at the times of the paper's poster.
        truncation: error of the weights of a converted run against the number of templates.
        curves: loss and score.
        bands: whether the curves show the phases of a curriculum.
        predictions: test examples.
        parameters: the table of parameters.
        written: when the run was last written to.
        result: for the comparison of several runs; ``None`` if it is not a classifier.
        saved: pictures for the folder ``figures``.
    """

    name: str
    run: Run
    headline: str
    facts: tuple[Fact, ...]
    problems: tuple[str, ...]
    similarity_step: int | None
    groups: tuple[Group, ...]
    left_out: int
    poster: tuple[matrices.Column, ...]
    truncation: chart.Figure | None
    curves: tuple[chart.Figure, ...]
    bands: bool
    predictions: examples.Predictions
    parameters: tables.ParameterTable | None
    written: str
    result: comparison.Result | None
    saved: tuple[matrices.Saved | chart.Figure, ...]

    @property
    def certificate_rows(self) -> list[tables.Row]:
        """What a fold saved and cost."""
        return tables.certificate_rows(self.run.certificate) if self.run.certificate else []

    @property
    def conversion_rows(self) -> list[tables.Row]:
        """What a conversion saved and cost."""
        return tables.difference_rows(self.run.conversion.difference) if self.run.conversion else []


def make_section(run: Run, name: str, runs: int = 1) -> Section:
    """Counts and draws what there is of a run; ``runs`` is the number of runs on the page."""
    log.info("drawing the figures of %s", name)
    assignment = tables.assignment(run)
    table = tables.parameter_table(run.experiment) if run.experiment and run.plan is not None else None
    facts = tuple(_facts(run, table, assignment))
    names = group_names(run)
    shown = names[:MOST_GROUPS]
    # The rest of what is recorded is in the report of the run that was folded.
    own = {step: at for step, at in run.history.items() if step >= scores.folded_at(run)}
    now = own[max(own)] if own else {}
    if assignment and run.plan and run.variables:
        now = {m: sharing.similarity(run.plan, run.variables, m) for m in sharing.MEASURES}
    most_bytes = FRAME_BYTES // (runs * max(len(shown), 1) * len(sharing.MEASURES))
    groups = tuple(_group(one, now, own, assignment, most_bytes) for one in shown)
    times = _poster_times(run, own)
    figures = _curves(run)
    truncation = _truncation(run)
    predictions = examples.predict(run)
    files = dict(zip(names, file_names(names), strict=True))
    saved: list[matrices.Saved | chart.Figure] = [*figures, *([truncation] if truncation else [])]
    for group in groups:
        saved += _group_files(group, files[group.name], now, own)
    if times:
        saved.append(matrices.save("epochs.png", times, shown))
    return Section(
        name=name,
        run=run,
        headline=headline(run, table, assignment) or name,
        facts=facts,
        problems=(*run.problems, *filter(None, [predictions.problem])),
        similarity_step=run.step if assignment else max(own, default=None),
        groups=groups,
        left_out=len(names) - len(shown),
        poster=tuple(matrices.strip(times, shown)),
        truncation=truncation,
        curves=figures,
        bands=bool(phase_names(run)),
        predictions=predictions,
        parameters=table,
        written=_written(run),
        result=comparison.result(run, name, table),
        saved=tuple(saved),
    )


def headline(
    run: Run, table: tables.ParameterTable | None, assignment: tables.Assignment | None
) -> str:
    """Returns the result of a run in a sentence; empty if nothing is known of it."""
    score = scores.of_checkpoint(run)
    now = "" if score is None else " ".join(scores.shown(scores.name_of(run), score.value))
    for change in (run.certificate, run.conversion):
        if change is None:
            continue
        name, before, after = tables.shown_pair(change.difference)
        if run.certificate is not None:
            layers = run.certificate.distinct_layers
            became = f"{layers.before} layers became {layers.after}"
        else:
            became = f"{run.conversion.model.before} became {run.conversion.model.after}"
        trained = score is not None and score.step > change.step
        then = f", then {now} at step {score.step:,}" if trained and score else ""
        kept = f"{change.difference.parameters.kept:.0%} of the parameters"
        return f"{became}: {kept}, {name} {before} → {after}{then}"
    if table is None:
        return ""
    parts = [now] if now else []
    if table.fraction < 0.995:
        parts.append(f"{table.fraction:.0%} of the unshared parameters")
    else:
        parts.append(f"{table.parameters.total:,} parameters")
    if assignment is None:
        return ", ".join(parts)
    layers, after = tables.distinct(assignment.now), tables.distinct(assignment.after)
    could = f"would fold to {after}" if after < layers else "do not fold"
    return f"{layers} layers {could}: " + ", ".join(parts)


def _facts(
    run: Run, table: tables.ParameterTable | None, assignment: tables.Assignment | None
) -> Iterator[Fact]:
    """Yields step, score, time, parameters and distinct layers, as far as they are known."""
    step = run.step if run.step is not None else (run.records[-1].step if run.records else None)
    if step is not None:
        of = f"of {run.experiment.total_steps:,}" if run.experiment else ""
        source = "" if run.step is not None else "last record"
        yield Fact("step", f"{step:,}", ", ".join(filter(None, [of, source])))
    score = scores.of_checkpoint(run)
    if score is not None:
        task = run.experiment and run.experiment.task
        phase = task.phase_name(task.phases - 1) if task else "last phase"
        late = "" if score.step == step else f", at step {score.step:,}"
        name, value = scores.shown(scores.name_of(run), score.value)
        yield Fact(name, value, f"{scores.SPLITS[score.split]}, {phase}{late}")
    spent = scores.seconds(run, step)
    if spent is not None:
        devices = scores.devices(run)
        yield Fact("time", scores.duration(spent), f"on {devices}" if devices else "")
    if table is not None:
        of = f"{table.fraction:.1%} of the unshared {table.unshared:,}" if table.rows else "nothing shared"
        yield Fact("parameters", f"{table.parameters.total:,}", of)
    if assignment is not None:
        layers = sum(map(len, assignment.now.values()))
        yield Fact("distinct layers", str(tables.distinct(assignment.now)), f"of {layers} shared")
        if run.certificate is None:
            remark = f"preview at similarity {tables.PREVIEW_THRESHOLD}"
            yield Fact("would fold to", str(tables.distinct(assignment.after)), remark)


def group_names(run: Run) -> list[str]:
    """Returns the names of the groups; without a plan, those in the history."""
    if run.plan is not None:
        return [group.name for group in run.plan.groups]
    return list(dict.fromkeys(name for at in run.history.values() for by in at.values() for name in by))


def file_names(names: Sequence[str]) -> list[str]:
    """Returns names that are safe in the name of a file, each different."""
    plain = [re.sub(r"[^\w.-]+", "-", name).strip("-.") or "group" for name in names]
    return [name if plain.count(name) == 1 else f"{name}-{place + 1}" for place, name in enumerate(plain)]


def _of_group(history: History, name: str) -> dict[int, dict[str, np.ndarray]]:
    """Returns the history of a group: step -> measure -> ``[L, L]``, without steps that lack a measure."""
    found = {
        step: {measure: by_group[name] for measure, by_group in at.items() if name in by_group}
        for step, at in history.items()
    }
    measures = max((set(at) for at in found.values()), key=len, default=set())
    return {step: at for step, at in found.items() if at and set(at) == measures}


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


def _group_files(group: Group, file: str, now: dict, own: History) -> Iterator[matrices.Saved]:
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
    steps = matrices.poster_steps(list(own), run.experiment.total_steps)
    per_epoch = run.experiment.steps_per_epoch
    return {matrices.epoch_label(step, per_epoch): own[step].get("coefficients", {}) for step in steps}


def _truncation(run: Run) -> chart.Figure | None:
    """Draws what the weights lost, if the run was given other numbers of templates."""
    if run.conversion is None or not run.conversion.groups:
        return None
    return chart.curves(
        "error-against-k.svg",
        "relative error of the weights",
        "template",
        [
            chart.Line(
                f"{group.name}, k = {group.templates}",
                f"c{place}",
                list(enumerate(group.relative_error, start=1)),
            )
            for place, group in enumerate(run.conversion.groups[:MOST_GROUPS])
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


def _curves(run: Run) -> tuple[chart.Figure, ...]:
    """Draws loss and score over training, as far as the run itself recorded them."""
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
            figures.append(chart.curves(f"{file}.svg", title, "step", lines, log_scale, bands))
    return tuple(figures)


def _written(run: Run) -> str:
    files = [file for file in (run.workdir.config_file, run.workdir.metrics_file) if file.exists()]
    last = max((file.stat().st_mtime for file in files), default=None)
    return "" if last is None else f"{datetime.datetime.fromtimestamp(last):%Y-%m-%d %H:%M}"
