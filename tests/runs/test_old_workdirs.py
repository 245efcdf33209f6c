"""Runs of older versions evaluate, fold, report, export and resume."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from softshare_jax import loader, sharing
from softshare_jax.conversion.exporting import export_run
from softshare_jax.conversion.folding import fold_run
from softshare_jax.errors import UserError
from softshare_jax.reporting.write import write_report
from softshare_jax.runs.load import load
from softshare_jax.runs.loop import train
from softshare_jax.runs.workdir import Workdir
from tests import cifar
from tests.runs.archives import unpack

RUNS = ("shared", "folded", "unshared", "converted", "annealed", "cifar")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    cifar.write_directory(cifar.fake("cifar10"), root)
    return root


def old_run(name: str, root: pathlib.Path, data_dir: pathlib.Path) -> Workdir:
    """Returns the run of an archive, with the current folder of its data."""
    workdir = Workdir(unpack(name, root))
    values = json.loads(workdir.config_file.read_text())
    workdir.config_file.write_text(json.dumps({**values, "data_dir": str(data_dir)}))
    return workdir


def expected_score(workdir: Workdir) -> float:
    """Returns the score that the older version recorded for the newest checkpoint."""
    for file in (workdir.certificate_file, workdir.conversion_file):
        if file.exists():
            return json.loads(file.read_text())["metric"]["after"]
    record = json.loads(workdir.metrics_file.read_text().splitlines()[-1])
    (score,) = (value for name, value in record.items() if name.startswith("target/"))
    return score


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_an_older_version(name, tmp_path, data_dir):
    workdir = old_run(name, tmp_path, data_dir)
    expected = expected_score(workdir)

    run = load(workdir)
    experiment = run.experiment
    scores = experiment.evaluator.evaluate(
        experiment.programs.to_dense(run.variables), experiment.task.phases - 1
    )
    assert scores[experiment.task.score] == pytest.approx(expected, abs=0.02)

    if experiment.plan.groups:
        certificate = fold_run(workdir, Workdir(tmp_path / "folded_now"), threshold=0.0)
        assert certificate.distinct_layers.after == len(experiment.plan.groups)

    end = run.step + 2
    train(dataclasses.replace(experiment.config, duration=f"{end} steps"), workdir)
    again = load(workdir)
    assert again.step == end
    if name == "folded":
        assert sharing.distinct_layers(again.experiment.plan, again.variables) == {"blocks": (0, 1, 1, 0)}

    if name == "shared":
        assert write_report([workdir]) == workdir.report_file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("densenet", r"was written by softshare_jax 0.1.0 for a network with other parameters"),
        (
            "sdensenet",
            r"an earlier version \(0.1\) may have made this plan: .*/conv/of_input, which is not a",
        ),
    ],
)
def test_a_run_of_parameters_that_no_longer_exist_names_its_version(name, message, tmp_path, data_dir):
    with pytest.raises(UserError, match=message):
        load(old_run(name, tmp_path, data_dir))


def test_a_checkpoint_before_the_end_of_annealing(tmp_path, data_dir):
    run = load(old_run("annealed", tmp_path, data_dir), step=8)
    assert run.experiment.plan.templates == {"blocks": 4}


def test_an_old_export_runs_and_an_old_run_exports_the_same(tmp_path, data_dir):
    old = unpack("exported", tmp_path)
    export_run(old_run("folded", tmp_path, data_dir), tmp_path / "new")
    images = np.random.default_rng(0).integers(0, 2, (3, 8, 8, 2), np.uint8)
    before, after = (loader.load(folder)(images) for folder in (old, tmp_path / "new"))
    np.testing.assert_allclose(before, after, atol=1e-5)
