"""Writes the report and its figures into the workdirs."""

import pathlib
from collections.abc import Sequence

import matplotlib

import softshare_jax
from softshare_jax import durable
from softshare_jax.errors import UserError, cannot_write
from softshare_jax.reporting.collect import collect
from softshare_jax.reporting.comparison import compare
from softshare_jax.reporting.page import render
from softshare_jax.reporting.picture import Picture
from softshare_jax.reporting.section import make_section
from softshare_jax.runs.workdir import Workdir


def write_report(workdirs: Sequence[Workdir], data_dir: str = "") -> pathlib.Path:
    """Writes ``report.html`` into the first workdir and each run's figures into its own ``figures``.

    The figure that compares the runs lies with those of the first.

    Args:
        workdirs: runs of any state, from begun to trained; named twice counts once.
        data_dir: folder of data sets, for the test examples; that of TFDS where it is empty. The folders that
            the runs were trained with are not read.

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
        # Now rather than after all has been computed.
        workdir.create()
    names = [workdir.root.name for workdir in workdirs]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not those of a matplotlibrc in the current folder, which could be anybody's
        sections = [
            make_section(
                collect(workdir, data_dir),
                name if names.count(name) == 1 else str(workdir.root),
                len(workdirs),
            )
            for workdir, name in zip(workdirs, names, strict=True)
        ]
        comparison = compare([section.result for section in sections if section.result is not None])
    first = workdirs[0]
    compared = [comparison.picture] if comparison and comparison.picture else []
    page = render(sections, comparison, softshare_jax.__version__)
    try:
        for workdir, section in zip(workdirs, sections, strict=True):
            _write_figures(workdir, section.pictures)
        _write_figures(first, compared)
        first.write(first.report_file, page)
    except OSError as error:
        raise cannot_write(error.filename or f"the report in {first.root}", error) from error
    return first.report_file


def _write_figures(workdir: Workdir, pictures: Sequence[Picture]) -> None:
    if pictures:
        durable.make_folder(workdir.figures)
    for picture in pictures:
        picture.save(workdir.figures)
