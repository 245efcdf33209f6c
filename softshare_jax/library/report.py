"""The report of a training loop: the page that ``softshare report`` writes of a run."""

import dataclasses
import html
import os
import pathlib

from softshare_jax import durable, paths, sharing
from softshare_jax.errors import UserError, cannot_write, unknown
from softshare_jax.library.history import History
from softshare_jax.reporting.section import make_section
from softshare_jax.reporting.write import render
from softshare_jax.runs.artifacts import Certificate
from softshare_jax.runs.read import Run

# Height of the page in a notebook, in pixels.
HEIGHT = 800


@dataclasses.dataclass(frozen=True, repr=False)
class Report:
    """A page. A notebook shows it.

    Attributes:
        html: the page; it needs no other file and no network.
    """

    html: str

    def save(self, file: str | os.PathLike[str]) -> pathlib.Path:
        """Writes the page to a file and returns its absolute path; an earlier file is replaced.

        Raises:
            UserError: the file cannot be written.
            RunError: there is no space for it.
        """
        path = paths.local(file)
        try:
            durable.write(path, self.html.encode())
        except OSError as error:
            raise cannot_write(str(path), error) from error
        return path

    def _repr_html_(self) -> str:
        # A frame of its own keeps the styles of the page and of the notebook apart.
        page = html.escape(self.html)
        return f'<iframe srcdoc="{page}" width="100%" height="{HEIGHT}" style="border:0"></iframe>'

    def __repr__(self) -> str:
        return f"Report({len(self.html):,} bytes of HTML; save('report.html') writes it)"


def report_of(
    plan: sharing.Plan,
    history: History,
    score: str = "",
    certificate: Certificate | None = None,
    name: str = "model",
) -> Report:
    """Makes the report page of a training loop.

    The page has a sentence with the result, the layer similarity matrices over time, the loops that a fold
    finds, parameters by group, the certificate, and a curve for each scalar.

    Args:
        plan: the plan of the history.
        history: what the loop recorded.
        score: name of the scalar that the sentence states; empty for none. An ``accuracy`` from 0 to 1 is
            shown as an error in percent.
        certificate: of a fold of the newest variables, from ``certify``. Without one the page previews a fold
            at similarity 0.9.
        name: of the model, for the page.

    Raises:
        UserError: the history is empty, ``score`` was never added or never finite, or the history or the
            certificate are of another plan.
    """
    if not isinstance(history, History):
        raise UserError("report_of takes a plan and the History that a loop filled")
    if history.plan != plan:
        raise UserError("the history is of another plan: make a History for each plan")
    if not history.records:
        raise UserError("the history is empty: call history.add(step, variables, ...) in the loop")
    if score in history.added and score not in history.names:
        raise UserError(f"the score {score} was not a finite number at any step")
    if score and score not in history.names:
        raise UserError(
            unknown("score", score, history.names) if history.names else "the history has no scalars"
        )
    step = history.records[-1].step
    if certificate is not None:
        layers = {group: len(found) for group, found in certificate.layers.items()}
        if layers != {group.name: group.layers for group in plan.groups}:
            raise UserError("the certificate is of another plan: make it with certify(plan, ...)")
        certificate = dataclasses.replace(certificate, step=step)
    training = Run(
        plan=plan,
        step=step,
        variables=history.variables,
        records=tuple(history.records),
        history=history.similarity,
        score=score,
        fold=certificate,
    )
    return Report(render([make_section(training, name)], None))
