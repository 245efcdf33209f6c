"""The numbers at the head of a run."""

import dataclasses
from collections.abc import Iterator

from softshare_jax.reporting import tables
from softshare_jax.reporting.collect import Run


@dataclasses.dataclass(frozen=True)
class Fact:
    """A headline number with its name and, where needed, a remark."""

    name: str
    value: str
    remark: str = ""


def score_name(run: Run) -> str:
    """Returns the name of the score, from the records where there is no config."""
    if run.experiment is not None:
        return run.experiment.task.score
    named = (key for record in run.metrics for key in record if key.startswith("target/"))
    return next(named, "target/score").removeprefix("target/")


def facts(
    run: Run, table: tables.ParameterTable | None, assignment: tables.Assignment | None
) -> Iterator[Fact]:
    """Yields what is known of a run's step, score, parameters and distinct layers."""
    step = run.step if run.step is not None else (run.metrics[-1]["step"] if run.metrics else None)
    if step is not None:
        of = f"of {run.experiment.total_steps:,}" if run.experiment else ""
        source = "" if run.step is not None else "last record"
        yield Fact("step", f"{step:,}", ", ".join(filter(None, [of, source])))
    name = score_name(run)
    score = tables.score(run.metrics, name, run.step, run.certificate)
    if score is not None:
        phase = (
            run.experiment.task.phase_name(run.experiment.task.phases - 1) if run.experiment else "last phase"
        )
        late = "" if score.step == step else f", at step {score.step:,}"
        yield Fact(name, f"{score.value:.4f}", f"test, {phase}{late}")
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
