"""One run as a section of the report."""

import dataclasses

from softshare_jax.reporting import comparison, figures, headline, predictions, tables
from softshare_jax.reporting.collect import Run
from softshare_jax.reporting.picture import Picture


@dataclasses.dataclass(frozen=True)
class Section:
    """Everything that the page shows of a run.

    Attributes:
        name: of the run; the folder's.
        model, facts: the headline.
        missing: a sentence for everything that is not there.
        shares: whether the plan has groups; ``None`` where there is no plan.
        preview: whether folding is a preview rather than done.
        groups: figures by group; ``left_out`` groups have none.
        epochs: how all groups came to share, in one picture.
        curves: learning curves, and ``bands``, whether they show the phases of a curriculum.
        examples: test examples, and ``examples_text``, what there is to see.
        certificate: of a folded run, and its lines.
        conversion: of a run that was given other templates, its lines, and ``truncation``, what it lost.
        parameters: the table of parameters.
        steps: first and last step of the similarity history.
        similarity_step: of the similarity matrices that are shown as the present ones.
        summary: what the summary of several runs says, by column.
        result: what the comparison of several runs says; ``None`` for what is no classifier.
    """

    name: str
    model: str = ""
    facts: tuple[headline.Fact, ...] = ()
    missing: tuple[str, ...] = ()
    shares: bool | None = None
    preview: bool = True
    groups: tuple[figures.GroupPart, ...] = ()
    left_out: int = 0
    epochs: Picture | None = None
    curves: tuple[Picture, ...] = ()
    bands: bool = False
    examples: tuple[Picture, ...] = ()
    examples_text: str = ""
    certificate: dict | None = None
    certificate_rows: tuple[tuple[str, str, str, str], ...] = ()
    conversion: dict | None = None
    conversion_rows: tuple[tuple[str, str, str, str], ...] = ()
    truncation: Picture | None = None
    parameters: tables.ParameterTable | None = None
    steps: tuple[int, int] | None = None
    similarity_step: int | None = None
    summary: dict[str, str] = dataclasses.field(default_factory=dict)
    result: comparison.Result | None = None

    @property
    def pictures(self) -> list[Picture]:
        """All pictures, in the order of the page."""
        by_group = [
            picture
            for group in self.groups
            for picture in (group.diagram, *group.matrices, group.evolution, group.animation)
            if picture is not None
        ]
        single = [picture for picture in (self.truncation, self.epochs) if picture is not None]
        return [*by_group, *single, *self.curves, *self.examples]


def make_section(run: Run, name: str, runs: int = 1) -> Section:
    """Draws and counts what there is of a run; ``runs`` is the number of runs on the page."""
    experiment, plan = run.experiment, run.plan
    assignment = None
    if plan is not None and plan.groups and run.variables is not None:
        assignment = tables.assignment(plan, run.variables, run.certificate is not None)
    table = tables.parameter_table(experiment) if experiment is not None and plan is not None else None
    predicted = predictions.draw_predictions(run)
    groups = figures.draw_groups(run, assignment, runs)
    facts = tuple(headline.facts(run, table, assignment))
    steps = list(run.history)
    return Section(
        name=name,
        model=run.config.model if run.config else "",
        facts=facts,
        missing=(*run.missing, *predicted.missing),
        shares=None if plan is None else bool(plan.groups),
        preview=run.certificate is None,
        groups=groups,
        left_out=len(figures.group_names(run)) - len(groups),
        epochs=figures.draw_epochs(run),
        curves=figures.draw_curves(run),
        bands=bool(figures.phase_names(run)),
        examples=predicted.pictures,
        examples_text=predicted.text,
        certificate=run.certificate,
        certificate_rows=tuple(tables.certificate_rows(run.certificate)) if run.certificate else (),
        conversion=run.conversion,
        conversion_rows=tuple(tables.difference_rows(run.conversion)) if run.conversion else (),
        truncation=figures.draw_truncation(run),
        parameters=table,
        steps=(steps[0], steps[-1]) if steps else None,
        similarity_step=run.step if assignment is not None else max(steps, default=None),
        summary={fact.name: fact.value for fact in facts},
        result=comparison.result(run, name, table),
    )
