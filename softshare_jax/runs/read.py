"""Reads a workdir, as far as it can be read."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from softshare_jax import sharing
from softshare_jax.config import Config
from softshare_jax.data.identity import DataSet
from softshare_jax.errors import RunError, UserError, one_line
from softshare_jax.runs import data_record
from softshare_jax.runs import records as records_lib
from softshare_jax.runs.artifacts import Certificate, Conversion
from softshare_jax.runs.load import load
from softshare_jax.runs.records import Device, History, Record
from softshare_jax.runs.workdir import Workdir
from softshare_jax.storage import versions
from softshare_jax.training.experiment import Experiment, make_experiment

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Run:
    """A run as it is on disk. Missing parts are ``None`` or empty, and ``problems`` gives the reasons.

    Or a training by a loop outside this package: it has no workdir, config or experiment, its scalars have
    the names that the loop gave them, and only it has the last two attributes.

    Attributes:
        workdir: the run's workdir.
        config: the run's config.
        plan: which layers share.
        experiment: made from config and plan; without a plan, only its task is valid.
        step: step of the newest undamaged checkpoint.
        variables: the variables at that step.
        records: recorded metrics, in order.
        history: recorded similarity matrices, step -> measure -> group -> ``[L, L]``.
        certificate: certificate of the fold that made this workdir.
        conversion: conversion that made this workdir from a run with other numbers of templates.
        devices: devices that trained the run, one entry per start.
        data_sets: the data sets that trained the run; none if it did not record any.
        versions: versions of the software that wrote the config, name -> version.
        problems: one sentence for each part that cannot be read.
        score: name of the score among the scalars; empty if there is none.
        fold: certificate of a fold of this network, which is not folded itself.
    """

    workdir: Workdir | None = None
    config: Config | None = None
    plan: sharing.Plan | None = None
    experiment: Experiment | None = None
    step: int | None = None
    variables: dict[str, Any] | None = None
    records: tuple[Record, ...] = ()
    history: History = dataclasses.field(default_factory=dict)
    certificate: Certificate | None = None
    conversion: Conversion | None = None
    devices: tuple[Device, ...] = ()
    data_sets: tuple[DataSet, ...] = ()
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    problems: tuple[str, ...] = ()
    score: str = ""
    fold: Certificate | None = None


def read(workdir: Workdir, data_dir: str = "") -> Run:
    """Reads a run and changes nothing in its workdir.

    Args:
        workdir: workdir of the run. The data folder in its config is ignored.
        data_dir: folder of the data sets; empty for the default of TFDS.

    Raises:
        UserError: the folder does not exist.
    """
    if not workdir.root.is_dir():
        raise UserError(f"workdir {workdir.root} does not exist")
    if not any(file.exists() for file in (workdir.config_file, workdir.metrics_file, workdir.checkpoints)):
        return Run(workdir, problems=("This folder holds no run: there is no config.json in it.",))
    log.info("reading %s", workdir.root)
    problems = _Problems()
    config = problems.attempt("config", workdir.read_config)
    plan = problems.attempt("plan", workdir.read_plan)
    experiment = trained = None
    if config is not None:
        # The workdir is untrusted, so its config must not choose which other files are read.
        local = dataclasses.replace(config, data_dir=data_dir)
        experiment = problems.attempt("network", lambda: make_experiment(local, plan))
    if experiment is not None and plan is not None:
        trained = problems.attempt(
            "checkpoint", lambda: load(workdir, config=local, notice=problems.add_line)
        )
    elif workdir.checkpoints.exists():
        problems.add("The checkpoints cannot be read without a config and a plan.")
    if trained is not None:
        # The plan of a checkpoint during annealing differs from plan.json.
        experiment, plan = trained.experiment, trained.experiment.plan
    return Run(
        workdir,
        config,
        plan,
        experiment,
        trained and trained.step,
        trained and trained.variables,
        records=problems.attempt("metrics", lambda: _records(workdir, problems)) or (),
        history=_history(workdir, problems) if plan is None or plan.groups else {},
        certificate=problems.artifact(Certificate, workdir, workdir.certificate_file),
        conversion=problems.artifact(Conversion, workdir, workdir.conversion_file),
        # Earlier versions recorded neither devices nor versions.
        devices=problems.attempt("devices", lambda: records_lib.read_devices(workdir.devices_file)) or (),
        data_sets=problems.attempt("record of the data", lambda: data_record.read(workdir)) or (),
        versions={} if config is None else _versions(workdir),
        problems=tuple(problems.sentences),
    )


class _Problems:
    """Collects a sentence for each part that cannot be read."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def add(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def add_line(self, line: str) -> None:
        self.add(f"{line[:1].upper()}{line[1:]}.")

    def attempt(self, what: str, read: Callable[[], T]) -> T | None:
        """Returns what ``read`` returns, or ``None`` after noting why it failed."""
        try:
            return read()
        except (UserError, RunError) as error:
            self.add(f"No {what}: {error}.")
        except Exception as error:  # the errors that damage causes are undocumented
            self.add(f"No {what}: it cannot be read ({one_line(error, 160)}).")
        return None

    def artifact(self, kind: type[T], workdir: Workdir, file) -> T | None:
        if not file.exists():
            return None
        read = kind.from_json  # type: ignore[attr-defined]
        return self.attempt(kind.__name__.lower(), lambda: read(workdir.read_sealed(file), str(file)))


def _records(workdir: Workdir, problems: _Problems) -> tuple[Record, ...]:
    lines = records_lib.read_lines(workdir.metrics_file)
    if lines.skipped:
        problems.add(f"In the metrics, {records_lib.describe_skipped(lines)}.")
    if not lines.records:
        raise UserError(f"{workdir.metrics_file} holds no records")
    return records_lib.scalar_records(lines)


def _history(workdir: Workdir, problems: _Problems) -> History:
    def recorded() -> History:
        history = records_lib.read_similarity(workdir)
        if damaged := records_lib.similarity_files(workdir).keys() - history:
            problems.add(f"The similarity history leaves out damaged files, of steps {sorted(damaged)}.")
        if not history:
            raise UserError(f"{workdir.similarity} holds no matrices")
        return history

    return problems.attempt("similarity history", recorded) or {}


def _versions(workdir: Workdir) -> dict[str, str]:
    stamp = workdir.read_json(workdir.config_file).get(versions.VERSION, {})
    return {name: version for name, version in stamp.items() if isinstance(version, str)}
