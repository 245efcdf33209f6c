"""Workdirs of CIFAR runs that nobody trained: what is in them is made up."""

import json
import pathlib
import runpy
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from softshare_jax import config as config_lib
from softshare_jax import sharing
from softshare_jax.conversion.output import write_run
from softshare_jax.runs.artifacts import Certificate, Counts, Difference, Metric
from softshare_jax.runs.workdir import Workdir
from softshare_jax.training.experiment import make_experiment
from tests import tiny

# Two epochs of two steps.
SHRINK: dict[str, Any] = {
    "data.train_examples": 16,
    "batch_size": 8,
    "duration": "2 epochs",
    "log_every": "1 step",
    "evaluate_every": "1 epoch",
    "checkpoint_every": "1 epoch",
}
STEPS = 4


def config(variant: str, file: str = "cifar10", **changes: Any) -> config_lib.Config:
    """Returns a shipped config with the fields of SHRINK; changes name fields with ``__`` for dots."""
    values = runpy.run_path(str(tiny.REPO / "configs" / f"{file}.py"))["get_config"](variant)
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    values.update_from_flattened_dict({**SHRINK, **changes})
    return config_lib.from_dict(values.to_dict())


def fabricate(
    root: pathlib.Path,
    config: config_lib.Config,
    records: Sequence[Mapping[str, Any]] = (),
    devices: Sequence[Mapping[str, Any]] = (),
    certificate: Certificate | None = None,
    checkpoint: bool = False,
    similarity: Sequence[int] = (),
) -> Workdir:
    """Writes a workdir.

    Args:
        root: of the workdir.
        config: of the run.
        records: lines of ``metrics.jsonl``.
        devices: lines of ``devices.jsonl``; no file where there are none.
        certificate: of a fold at threshold 0, and the folded plan; ``None`` for an unfolded run.
        checkpoint: whether there is one, of the initial weights, at the last step.
        similarity: steps at which that of the initial weights is recorded.
    """
    workdir, experiment = Workdir(root), make_experiment(config)
    workdir.create()
    workdir.write_run(config, experiment.plan)
    if checkpoint or certificate or similarity:
        variables = experiment.programs.init_state().variables
    if certificate:
        folded = sharing.fold(experiment.plan, variables, 0.0, "weights")
        workdir.write_run(config, folded.plan)
        workdir.write(workdir.certificate_file, json.dumps(certificate.to_json()))
    if checkpoint:
        write_run(workdir, experiment, STEPS, variables)
    for file, lines in ((workdir.metrics_file, records), (workdir.devices_file, devices)):
        if lines:
            workdir.write(file, "".join(json.dumps(line) + "\n" for line in lines))
    for step in similarity:
        workdir.similarity.mkdir(exist_ok=True)
        arrays = {
            f"{measure}/{group}": jax.device_get(matrix)
            for measure in sharing.MEASURES
            for group, matrix in sharing.similarity(experiment.plan, variables, measure).items()
        }
        np.savez(workdir.similarity / f"{step:08d}.npz", **arrays)
    return workdir


def record(step: int, seconds: float = 1.0, **values: float) -> dict[str, Any]:
    """Returns a line of ``metrics.jsonl``; values name metrics with ``__`` for the slash."""
    named = {name.replace("__", "/"): value for name, value in values.items()}
    return {"step": step, "phase": 0, "train/loss": 1.0, **named, "time/seconds": seconds}


def certificate(accuracy: float, step: int = STEPS) -> Certificate:
    """Returns the certificate of a fold at threshold 0."""
    metric = Metric("accuracy", "7 test examples, cifar10", 0.9, accuracy)
    return Certificate(
        step=step,
        difference=Difference(Counts(126688, 100000), metric, 0.5),
        measure="weights",
        threshold=0.0,
        shared_layers=6,
        distinct_layers=Counts(6, 3),
    )
