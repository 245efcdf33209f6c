"""The numbers at the head of a run."""

import dataclasses
from collections.abc import Iterator

from softshare_jax.reporting import cost, scores, tables
from softshare_jax.reporting.collect import Run


@dataclasses.dataclass(frozen=True)
class Fact:
    """A headline number with its name and, where needed, a remark."""

    name: str
    value: str
    remark: str = ""


def facts(
    run: Run, table: tables.ParameterTable | None, assignment: tables.Assignment | None
) -> Iterator[Fact]:
    """Yields what is known of a run's step, score, time, parameters and distinct layers."""
    step = run.step if run.step is not None else (run.metrics[-1]["step"] if run.metrics else None)
    if step is not None:
        of = f"of {run.experiment.schedule.total:,}" if run.experiment else ""
        source = "" if run.step is not None else "last record"
        yield Fact("step", f"{step:,}", ", ".join(filter(None, [of, source])))
    score = _score(run)
    if score is not None:
        name, value = scores.shown(scores.score_name(run), score.value)
        phase = (
            run.experiment.task.phase_name(run.experiment.task.phases - 1) if run.experiment else "last phase"
        )
        late = "" if score.step == step else f", at step {score.step:,}"
        yield Fact(name, value, f"{scores.SPLITS[score.split]}, {phase}{late}")
    spent = cost.seconds(run, step)
    if spent is not None:
        devices = cost.devices(run)
        yield Fact("time", cost.duration(spent), f"on {devices}" if devices else "")
    if table is not None:
        remark = (
            f"{table.fraction:.1%} of the unshared {table.unshared:,}" if table.rows else "nothing shared"
        )
        yield Fact("parameters", f"{table.parameters.total:,}", remark)
    if assignment is not None:
        layers = sum(map(len, assignment.now.values()))
        yield Fact("distinct layers", str(tables.distinct(assignment.now)), f"of {layers} shared")
        if run.certificate is None:
            remark = f"preview at similarity {tables.PREVIEW_THRESHOLD}"
            yield Fact("would fold to", str(tables.distinct(assignment.after)), remark)


def _score(run: Run) -> scores.Measured | None:
    """Returns the score of the checkpoint, or of the last record without one."""
    name = scores.score_name(run)
    if run.experiment is not None and name == scores.ACCURACY:
        measured = [one for one in scores.accuracies(run) if run.step is None or one.step <= run.step]
        return scores.newest(measured)
    score = tables.score(run.metrics, name, run.step, run.certificate)
    return (
        None if score is None else scores.Measured(score.value, score.step, "test" if run.experiment else "")
    )
