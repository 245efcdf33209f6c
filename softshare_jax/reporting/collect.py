"""What a workdir holds, read as far as it can be read."""

import contextlib
import dataclasses
import io
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from softshare_jax import sharing
from softshare_jax.config import Config
from softshare_jax.errors import RunError, UserError
from softshare_jax.runs import records
from softshare_jax.runs.load import Trained, load
from softshare_jax.runs.workdir import Workdir
from softshare_jax.training.experiment import Experiment, make_experiment

T = TypeVar("T")
History = dict[int, dict[str, dict[str, np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run as it lies on disk. What is missing is ``None`` or empty, and named in ``missing``.

    Attributes:
        workdir: where it lies.
        config: its config.
        plan: which layers share.
        experiment: made of both; without a plan, good for the task only.
        step: of the newest whole checkpoint.
        variables: the network there.
        metrics: the records, in order.
        history: recorded similarity matrices, step -> measure -> group -> ``[L, L]``.
        certificate: of the fold that made this workdir.
        conversion: of the run that this workdir was made of, to another number of templates.
        devices: on what it was trained, a line for each start: ``device``, its kind, and ``devices``.
        missing: a sentence for everything that is not there.
    """

    workdir: Workdir
    config: Config | None = None
    plan: sharing.Plan | None = None
    experiment: Experiment | None = None
    step: int | None = None
    variables: dict[str, Any] | None = None
    metrics: tuple[dict, ...] = ()
    history: History = dataclasses.field(default_factory=dict)
    certificate: dict[str, Any] | None = None
    conversion: dict[str, Any] | None = None
    devices: tuple[dict, ...] = ()
    missing: tuple[str, ...] = ()


def collect(workdir: Workdir, data_dir: str = "") -> Run:
    """Reads all that a workdir holds; it changes nothing there.

    Args:
        workdir: of the run. The folder of data that its config names is not read.
        data_dir: folder of data sets to read instead; that of TFDS where it is empty.

    Raises:
        UserError: there is no such folder.
    """
    if not workdir.root.is_dir():
        raise UserError(f"workdir {workdir.root} does not exist")
    if not any(file.exists() for file in (workdir.config_file, workdir.metrics_file, workdir.checkpoints)):
        return Run(workdir, missing=("This folder holds no run: there is no config.json in it.",))
    missing: list[str] = []
    config = _attempt(workdir.read_config, "config", missing)
    plan = _attempt(workdir.read_plan, "plan", missing)
    experiment = None
    if config is not None:
        # A workdir that was sent decides nothing about which other files are read.
        with_data = dataclasses.replace(config, data_dir=data_dir)
        experiment = _attempt(lambda: make_experiment(with_data, plan), "network", missing)
    step, variables = None, None
    if experiment is not None and plan is not None:
        trained = _attempt(lambda: _checkpoint(workdir, with_data, missing), "checkpoint", missing)
        if trained is not None:
            experiment, step, variables = trained
            # Of the step: a run that is still being annealed has more templates than it will have.
            plan = experiment.plan
    elif workdir.checkpoints.exists():
        missing.append("The checkpoints cannot be read without a config and a plan.")
    metrics = _attempt(lambda: _metrics(workdir, missing), "metrics", missing) or ()
    history: History = {}
    if plan is None or plan.groups:
        history = _attempt(lambda: _history(workdir, missing), "similarity history", missing) or {}
    certificate = conversion = None
    if workdir.certificate_file.exists():
        certificate = _attempt(lambda: _certificate(workdir), "certificate", missing)
    if workdir.conversion_file.exists():
        conversion = _attempt(lambda: _conversion(workdir), "conversion", missing)
    # Runs of earlier versions have none, which is no fault of theirs.
    devices = _attempt(lambda: _devices(workdir), "list of devices", missing) or ()
    return Run(
        workdir,
        config,
        plan,
        experiment,
        step,
        variables,
        metrics,
        history,
        certificate,
        conversion,
        devices,
        tuple(missing),
    )


def _attempt(read: Callable[[], T], what: str, missing: list[str]) -> T | None:
    """Returns what ``read`` returns, or ``None`` and notes why there is nothing."""
    try:
        return read()
    except (UserError, RunError) as error:
        missing.append(f"No {what}: {error}.")
    except Exception as error:  # what damaged files raise is not documented
        said = " ".join(str(error).split()) or type(error).__name__
        missing.append(f"No {what}: it cannot be read ({said[:160]}).")
    return None


def _checkpoint(workdir: Workdir, config: Config, missing: list[str]) -> Trained:
    """Reads the newest whole checkpoint and notes those that were passed over."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            return load(workdir, config=config)
    finally:
        missing += [line[:1].upper() + line[1:] + "." for line in said.getvalue().splitlines()]


def _metrics(workdir: Workdir, missing: list[str]) -> tuple[dict, ...]:
    found = records.read_lines(workdir.metrics_file)
    if found.skipped:
        missing.append(f"Of the metrics, {records.describe_skipped(found)}.")
    if not found.records:
        raise UserError(f"{workdir.metrics_file} holds no records")
    return tuple(found.records)


def _history(workdir: Workdir, missing: list[str]) -> History:
    history = records.read_similarity(workdir)
    if damaged := records.similarity_files(workdir).keys() - history:
        missing.append(f"Of the similarity history, left out what is damaged: steps {sorted(damaged)}.")
    if not history:
        raise UserError(f"{workdir.similarity} holds no matrices")
    return history


def _devices(workdir: Workdir) -> tuple[dict, ...]:
    found = records.read_metrics(workdir.devices_file)
    return tuple(d for d in found if {"device", "devices"} <= set(d))


def _certificate(workdir: Workdir) -> dict[str, Any]:
    """Reads the certificate and checks what the report shows of it."""
    certificate = workdir.read_sealed(workdir.certificate_file)
    _check_difference(certificate)
    float(certificate["distinct_layers"]["before"]), float(certificate["distinct_layers"]["after"])
    for key in ("step", "threshold", "shared_layers"):
        float(certificate[key])
    str(certificate["measure"])
    return certificate


def _conversion(workdir: Workdir) -> dict[str, Any]:
    """Reads the conversion and checks what the report shows of it."""
    conversion = workdir.read_sealed(workdir.conversion_file)
    _check_difference(conversion)
    float(conversion["step"]), str(conversion["model"]["before"]), int(conversion["batch_norm_batches"])
    for group in conversion["groups"]:
        str(group["name"]), int(group["templates"]), [float(error) for error in group["relative_error"]]
    return conversion


def _check_difference(values: dict[str, Any]) -> None:
    for key in ("parameters", "metric"):
        float(values[key]["before"]), float(values[key]["after"])
    float(values["max_logit_difference"])
    str(values["metric"]["name"]), str(values["metric"]["measured_on"])
