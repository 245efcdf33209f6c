"""Writes the report and its figures into the workdirs."""

import contextlib
import datetime
import importlib.metadata
import logging
import pathlib
from collections.abc import Sequence

import jinja2
from markupsafe import Markup

import softshare_jax
from softshare_jax import durable
from softshare_jax.description import published
from softshare_jax.errors import UserError, cannot_write
from softshare_jax.reporting import matrices, theme
from softshare_jax.reporting.comparison import Comparison, compare
from softshare_jax.reporting.section import Section, make_section
from softshare_jax.reporting.tables import Table
from softshare_jax.runs.read import read
from softshare_jax.runs.workdir import Workdir

log = logging.getLogger(__name__)


def write_report(workdirs: Sequence[Workdir], data_dir: str = "", command: str = "") -> pathlib.Path:
    """Writes ``report.html`` into the first workdir and each run's figures into its own ``figures``.

    The figure that compares the runs lies with those of the first.

    Args:
        workdirs: runs in any state, from begun to trained; a workdir that is named twice counts once.
        data_dir: folder of data sets, for the test examples; the default of TFDS if empty. The folders that
            the runs were trained with are not read.
        command: that the page says it was written by.

    Returns:
        The report.

    Raises:
        UserError: a workdir is missing, holds no run, or cannot be written.
        RunError: there is no space for what is written.
    """
    workdirs = list({workdir.root: workdir for workdir in workdirs}.values())
    for workdir in workdirs:
        if not workdir.root.is_dir():
            raise UserError(f"workdir {workdir.root} does not exist")
        if not workdir.holds_run():
            raise UserError(f"workdir {workdir.root} holds no run to report on")
    for workdir in workdirs:
        # Fail now, not after everything has been computed.
        workdir.create()
    names = [workdir.root.name for workdir in workdirs]
    sections = []
    for workdir, name in zip(workdirs, names, strict=True):
        name = name if names.count(name) == 1 else str(workdir.root)
        run = read(workdir, data_dir)
        log.info("drawing the figures of %s", name)
        sections.append(make_section(run, name, len(workdirs)))
    comparison = compare([section.result for section in sections if section.result is not None])
    first = workdirs[0]
    page = render(sections, comparison, command)
    try:
        for workdir, section in zip(workdirs, sections, strict=True):
            compared = [comparison.figure] if comparison and comparison.figure and workdir is first else []
            for figure in (*section.saved, *compared):
                durable.make_folder(workdir.figures)
                durable.write(workdir.figures / figure.file, figure.content)
        first.write(first.report_file, page)
    except OSError as error:
        raise cannot_write(error.filename or f"the report in {first.root}", error) from error
    return first.report_file


def render(sections: Sequence[Section], comparison: Comparison | None, command: str = "") -> str:
    """Returns the page: a summary and a comparison if there are several sections, then each of them."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("softshare_jax", "reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        sections=sections,
        summary=_summary(sections),
        comparison=comparison,
        colors=theme.css(),
        levels=theme.LEVELS,
        written=matrices.WRITTEN,
        source=published.SOURCE,
        command=command,
        docs=_docs(),
        now=f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
        version=softshare_jax.__version__,
    )


def _summary(sections: Sequence[Section]) -> Table:
    columns = list(dict.fromkeys(fact.name for section in sections for fact in section.facts))
    rows = []
    for place, section in enumerate(sections, start=1):
        link = Markup('<a href="#run-{}">{}</a>').format(place, section.name)
        values = {fact.name: fact.value for fact in section.facts}
        model = section.run.config.model if section.run.config else "–"
        rows.append([link, model, *(values.get(column, "–") for column in columns)])
    return Table("Summary of the runs", ["run", "model", *columns], rows, 2)


def _docs() -> str:
    """Returns the address of the documentation; empty if the installed package names none."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for link in importlib.metadata.metadata("softshare_jax").get_all("Project-URL") or ():
            label, _, address = link.partition(", ")
            if label.lower() == "documentation":
                return address
    return ""
