"""The tables of the paper's poster as a page: what was published, counted and measured, row by row."""

import dataclasses
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from softshare_jax import durable
from softshare_jax.config.by_network import recipe
from softshare_jax.description import published
from softshare_jax.description.description import parameters
from softshare_jax.description.published import Published
from softshare_jax.errors import UserError, cannot_write
from softshare_jax.reporting import comparison, tables
from softshare_jax.runs.read import read
from softshare_jax.runs.workdir import Workdir
from softshare_jax.training.durations import to_steps

CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet2012": 1000}
NOT_RUN, UNKNOWN = "not run", "–"
SETTINGS = {published.AUGMENTED: "+", published.DROPOUT: "+, dropout", published.CUTOUT: "+, cutout"}
ERRORS = {"cifar10": "CIFAR-10 error", "cifar100": "CIFAR-100 error", "imagenet2012": "top-1 / top-5 error"}
# The first line of the page, which identifies an earlier page.
TITLE = b"# The tables of the poster\n"
# Runs by the row and the data set that they belong to.
Runs = Mapping[tuple[Published, str], Sequence[comparison.Result]]
log = logging.getLogger(__name__)


def write_poster(output: pathlib.Path, workdirs: Sequence[Workdir], command: str) -> None:
    """Writes the page.

    Args:
        output: Markdown file; an earlier page of this kind is replaced.
        workdirs: runs of networks of the poster, finished or not; a workdir that is named twice counts once.
        command: that the page says it was written by.

    Raises:
        UserError: the file is something else or cannot be written; or a run is missing, matches no row, has
            no test error, or is a duplicate.
        RunError: there is no space for the file.
    """
    if output.is_dir() or not output.parent.is_dir():
        there = (
            "is a folder: name a file" if output.is_dir() else "cannot be written: there is no such folder"
        )
        raise UserError(f"--output {output} {there}")
    write = durable.write if _is_poster(output) else durable.write_new
    runs: dict[tuple[Published, str], list[comparison.Result]] = {}
    for workdir in {workdir.root: workdir for workdir in workdirs}.values():
        result = _read(workdir)
        runs.setdefault((_row_of(result), result.config.data.name), []).append(result)
    page = render(runs, command)
    try:
        write(output, page.encode(errors="backslashreplace"))
    except FileExistsError as error:
        raise UserError(f"--output {output} was made by another command meanwhile: run this again") from error
    except OSError as error:
        raise cannot_write(f"--output {output}", error) from error


def _is_poster(output: pathlib.Path) -> bool:
    """Returns whether an earlier page is there to be replaced.

    Raises:
        UserError: something else is there.
    """
    if not output.exists():
        return False
    if not output.read_bytes().startswith(TITLE):
        raise UserError(f"--output {output} holds something else: name a new file")
    return True


def render(runs: Runs, command: str) -> str:
    """Returns the page in Markdown.

    Raises:
        UserError: a run repeats another one.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("softshare_jax", "reporting"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    log.info("counting the parameters of the networks")
    parts = [_part(table, runs) for table in published.TABLES]
    return environment.get_template("poster.md.j2").render(tables=parts, command=command)


def settings(row: Published, data: str) -> dict[str, Any]:
    """Returns the settings of a row in the shipped configs, as ``comparison.settings`` does."""
    config = dataclasses.replace(recipe(row.network, CLASSES[data]), dropout_rate=row.dropout)
    return comparison.settings(config) | ({"data.cutout": row.cutout} if data != "imagenet2012" else {})


def _read(workdir: Workdir) -> comparison.Result:
    run = read(workdir)
    sizes = tables.sizes(run)
    result = comparison.result(run, f"workdir {workdir.root}", sizes)
    if result is None:
        reason = f": {run.problems[0].rstrip('.')}" if sizes is None and run.problems else ""
        raise UserError(f"workdir {workdir.root} holds no run of a classifier{reason}")
    if result.error is None:
        raise UserError(f"{result.fault.rstrip('.')} yet: train it on, or leave it out")
    return result


def _row_of(result: comparison.Result) -> Published:
    config, cutout = result.config, result.settings.get("data.cutout", 0)
    row = published.find(config.model, config.data.name, config.dropout_rate, cutout)
    if row is None:
        raise UserError(
            f"{result.run} is {config.model} on {config.data.name} with dropout {config.dropout_rate} and "
            f"cutout {cutout}, which no row of the poster is: leave it out"
        )
    return row


def _part(table: published.Table, runs: Runs) -> tables.Table:
    days = any(row.gpu_days is not None for row in table.rows)
    header = ["network", "name here", "setting", "parameters (M)", "counted", *(["GPU days"] if days else [])]
    for data in table.data:
        header += [f"{ERRORS[data]} (%)", "measured"]
    return tables.Table(table.title, header, [_line(table, row, days, runs) for row in table.rows])


def _line(table: published.Table, row: Published, days: bool, runs: Runs) -> list[str]:
    counted = f"{parameters(row.network, CLASSES[table.data[0]]).total:,}"
    line = [row.name, f"`{row.network}`", SETTINGS[row.setting], _number(row.millions), counted]
    line += [_number(row.gpu_days)] if days else []
    for data in table.data:
        errors = [getattr(row, data), *([row.top_5] if row.top_5 is not None else [])]
        line.append(" / ".join(UNKNOWN if error is None else f"{error:.2f}" for error in errors))
        line.append(_measured(row, data, runs.get((row, data), ())))
    return line


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:g}"


def _measured(row: Published, data: str, results: Sequence[comparison.Result]) -> str:
    """Returns what runs of a row measured on a data set, the longest training first."""
    groups, repeats = comparison.by_seed(results)
    if repeats:
        raise UserError(f"{repeats[0].rstrip('.')}, leave one of them out")
    groups.sort(key=lambda group: -group[0].epochs)
    return "<br>".join(_sentence(row, data, group) for group in groups) or NOT_RUN


def _sentence(row: Published, data: str, group: Sequence[comparison.Result]) -> str:
    """Returns what runs that differ in their seed alone measured, and where they are not the recipe."""
    first, planned = group[0], settings(row, data)
    differing = [
        field
        for field, value in first.settings.items()
        # The time that the training took is always stated.
        if field != "duration" and planned.get(field) != value
    ]
    summary = comparison.summarize(group, differing)
    errors = [summary.error]
    if top_5 := [one.top_5 for one in group if one.top_5 is not None]:
        errors.append(comparison.percent(top_5))
    whole = to_steps(planned["duration"], 1, "config.duration")
    done = f"{round(first.epochs, 2):g}"
    said = [
        f"{' / '.join(errors)} after {done if done == str(whole) else f'{done} of {whole}'} epochs"
        + (f" on {summary.devices}" if summary.devices != UNKNOWN else ""),
        "unfinished" if first.fault else "",
        f"{summary.seeds} seed{'s' if len(group) > 1 else ''}",
        summary.time if summary.time != UNKNOWN else "",
        summary.settings,
    ]
    if summary.parameters != f"{parameters(row.network, CLASSES[data]).total:,}":
        said.append(f"{summary.parameters} parameters")
    # A description of images may have any characters.
    return ", ".join(part for part in said if part).replace("|", r"\|").replace("<", "&lt;")
