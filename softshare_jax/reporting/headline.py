"""The result of a run in a sentence, and the numbers beneath it."""

from collections.abc import Iterator
from typing import NamedTuple

from softshare_jax.reporting import scores, tables
from softshare_jax.runs.read import Run


class Fact(NamedTuple):
    """A number with its name and, where needed, a remark."""

    name: str
    value: str
    remark: str = ""


def sentence(run: Run, sizes: tables.Sizes | None, assignment: tables.Assignment | None) -> str:
    """Returns the result of a run in a sentence; empty if nothing is known of it."""
    score = scores.of_checkpoint(run)
    now = "" if score is None else " ".join(scores.shown(scores.name_of(run), score.value))
    if change := run.certificate or run.fold or run.conversion:
        if fold := run.certificate or run.fold:
            kept = fold.distinct_layers
            became = f"{kept.before} layers became {kept.after}"
        else:
            assert run.conversion
            became = f"{run.conversion.model.before} became {run.conversion.model.after}"
        name, before, after = tables.shown_pair(change.difference)
        later = f", then {now} at step {score.step:,}" if score and score.step > change.step else ""
        fraction = f"{change.difference.parameters.kept:.0%} of the parameters"
        return f"{became}: {fraction}, {name} {before} → {after}{later}"
    if sizes is None:
        return ""
    saves = sizes.fraction < 0.995
    size = f"{sizes.fraction:.0%} of the unshared parameters" if saves else f"{sizes.total:,} parameters"
    parts = [now, size] if now else [size]
    if assignment is None:
        return ", ".join(parts)
    layers, folded = sum(map(len, assignment.now.values())), tables.distinct(assignment.after)
    if assignment.preview:
        could = f" would fold to {folded}" if folded < layers else " do not fold"
    else:
        could = f", {folded} distinct"
    return f"{layers} layers{could}: " + ", ".join(parts)


def facts(run: Run, sizes: tables.Sizes | None, assignment: tables.Assignment | None) -> Iterator[Fact]:
    """Yields step, score, time, parameters and distinct layers, as far as they are known."""
    step = run.step if run.step is not None else (run.records[-1].step if run.records else None)
    if step is not None:
        of = f"of {run.experiment.schedule.total:,}" if run.experiment else ""
        source = "" if run.step is not None else "last record"
        yield Fact("step", f"{step:,}", ", ".join(filter(None, [of, source])))
    score = scores.of_checkpoint(run)
    if score is not None:
        task = run.experiment and run.experiment.task
        phase = task.phase_name(task.phases - 1) if task else "last phase"
        measured_on = [] if run.workdir is None else [scores.SPLITS[score.split], phase]
        late = [] if score.step == step else [f"at step {score.step:,}"]
        name, value = scores.shown(scores.name_of(run), score.value)
        yield Fact(name, value, ", ".join([*measured_on, *late]))
    spent = scores.seconds(run, step)
    if spent is not None:
        devices = scores.devices(run)
        yield Fact("time", scores.duration(spent), f"on {devices}" if devices else "")
    if sizes is not None and run.plan is not None:
        of = (
            f"{sizes.fraction:.1%} of the unshared {sizes.unshared:,}"
            if run.plan.groups
            else "nothing shared"
        )
        yield Fact("parameters", f"{sizes.total:,}", of)
    if assignment is not None:
        layers = sum(map(len, assignment.now.values()))
        yield Fact("distinct layers", str(tables.distinct(assignment.now)), f"of {layers} shared")
        if run.fold is not None:
            yield Fact("folds to", str(tables.distinct(assignment.after)), "certified below")
        elif assignment.preview:
            remark = f"preview at similarity {tables.PREVIEW_THRESHOLD}"
            yield Fact("would fold to", str(tables.distinct(assignment.after)), remark)
