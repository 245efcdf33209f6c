"""Shrunk CIFAR configs on fake data through the real commands."""

import json
import re

import jax
import numpy as np
import pytest

from softshare_jax import loader
from softshare_jax.runs import data_record
from softshare_jax.runs.records import read_metrics, read_similarity
from softshare_jax.runs.workdir import Workdir
from tests import cifar as fakes
from tests import forking, tiny

CONFIG = "--config=configs/cifar10.py:swrn-16-1-1-cutout"
# With a constant learning rate, a shorter run is the start of a longer one.
SETTINGS = {
    "optimizer__ema_decay": 0.9,
    "optimizer__schedule": "constant",
    "optimizer__milestones": "()",
    "data__label_smoothing": 0.1,
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Returns a folder with fakes of both data sets: 20 training and 7 test images."""
    root = tmp_path_factory.mktemp("tfds")
    for name in ("cifar10", "cifar100"):
        fakes.write_directory(fakes.fake(name, train=20, test=7), root)
    return root


def succeeds(command, *arguments):
    result = forking.run(command, *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def checksum(out):
    (found,) = re.findall(r"parameter checksum ([0-9a-f]{16})", out)
    return found


def train(workdir, data_dir, duration="6 steps"):
    flags = tiny.cifar_flags(data_dir, duration=duration, **SETTINGS)
    return succeeds("main", CONFIG, *flags, f"--workdir={workdir}")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_dir):
    """Returns a finished CIFAR-10 run with a validation split, and its output."""
    workdir = Workdir(tmp_path_factory.mktemp("cifar") / "run")
    return workdir, train(workdir.root, data_dir)


def test_what_a_run_writes(trained):
    workdir, out = trained
    assert "stage_1, 2 layers, 1 template; stage_2" in out
    config = json.loads(workdir.config_file.read_text())
    assert (config["model"], config["data"]["cutout"], config["dropout_rate"]) == ("swrn-16-1-1", 16, 0.0)
    (images,) = data_record.read(workdir)
    assert (images.name, images.official) == ("cifar10", True)
    records = {record["step"]: record for record in read_metrics(workdir.metrics_file)}
    assert list(records) == [2, 3, 4, 6]
    always = {"step", "phase", "train/loss", "train/accuracy", "time/seconds"}
    evaluated = {"eval/loss", "eval/accuracy", "target/accuracy"}
    assert set(records[2]) == set(records[4]) == always
    assert set(records[3]) == always | evaluated
    # The run has a validation split, so it evaluates the test split only at the end.
    assert set(records[6]) == always | evaluated | {"test/loss", "test/accuracy"}
    seconds = [record["time/seconds"] for record in records.values()]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    # 4 validation images, 7 test images.
    assert records[6]["eval/accuracy"] * 4 == pytest.approx(round(records[6]["eval/accuracy"] * 4))
    assert records[6]["test/accuracy"] * 7 == pytest.approx(round(records[6]["test/accuracy"] * 7), abs=1e-5)


def test_searched_cells(tmp_path, data_dir):
    flags = tiny.cifar_flags(
        data_dir, duration="2 steps", evaluate_every="2 steps", checkpoint_every="2 steps"
    )
    run = tmp_path / "run"
    out = succeeds("main", "--config=configs/cells.py:ssnas-6x4-1", *flags, f"--workdir={run}")
    assert "stage_1_edge_0_depthwise_1, 2 layers, 1 template" in out
    succeeds("fold", f"--workdir={run}", f"--output={tmp_path / 'folded'}")
    certificate = json.loads((tmp_path / "folded" / "certificate.json").read_text())
    assert certificate["distinct_layers"] == {"before": 24, "after": 12}


def test_similarity_at_each_evaluation(trained):
    history = read_similarity(trained[0])
    assert list(history) == [0, 3, 6]
    for measures in history.values():
        assert set(measures) == {"weights", "coefficients"}
        for groups in measures.values():
            # With one template all layers are parallel.
            assert set(groups) == {"stage_1", "stage_2", "stage_3"}
            for matrix in groups.values():
                np.testing.assert_allclose(matrix, np.ones((2, 2)), atol=2e-3)


def test_evaluate_fold_and_resume(tmp_path, trained, data_dir):
    workdir, _ = trained
    (last,) = (r for r in read_metrics(workdir.metrics_file) if r["step"] == 6)
    out = succeeds("main", "--mode=evaluate", f"--workdir={workdir.root}")
    loss, accuracy = map(
        float, re.findall(r"step 6  cifar10  eval/loss ([\d.]+)  eval/accuracy ([\d.]+)", out)[0]
    )
    assert loss == pytest.approx(last["test/loss"], rel=1e-3)
    assert accuracy == pytest.approx(last["test/accuracy"], abs=1e-4)

    folded = tmp_path / "folded"
    succeeds("fold", f"--workdir={workdir.root}", f"--output={folded}", "--threshold=0")
    certificate = json.loads((folded / "certificate.json").read_text())
    assert certificate["loops"] == dict.fromkeys(("stage_1", "stage_2", "stage_3"), "(1)×2")
    # One template already means one layer, so folding changes weights only by rounding.
    assert certificate["metric"]["drop"] == pytest.approx(0, abs=1e-6)
    assert data_record.read(Workdir(folded)) == data_record.read(workdir)

    assert "resuming from step 6 of 9" in train(folded, data_dir, "9 steps")
    steps = [record["step"] for record in read_metrics(folded / "metrics.jsonl")]
    assert steps == [2, 3, 4, 6, 8, 9]


def test_export(tmp_path, trained):
    workdir, _ = trained
    out = succeeds("export", f"--workdir={workdir.root}", f"--output={tmp_path / 'out'}")
    assert "images uint8 [B, 32, 32, 3] -> logits float32 [B, 10]" in out
    description = loader.describe(tmp_path / "out")
    assert description["classes"] == fakes.class_names("cifar10")
    images, labels = fakes.fake("cifar10", train=20, test=7).splits["test"]
    logits = loader.load(tmp_path / "out")(images)
    # The run's own final evaluation, with the averaged weights.
    losses = -jax.nn.log_softmax(logits)[np.arange(7), labels]
    (last,) = (r for r in read_metrics(workdir.metrics_file) if r["step"] == 6)
    assert np.mean(losses) == pytest.approx(last["test/loss"], rel=1e-5)
    # Constants take up most of the file, not the layers made from them.
    parameters, files = description["parameters"], description["files"]
    stored = sum(x.size for x in jax.tree.leaves(loader.read(tmp_path / "out" / "shared.safetensors")[0]))
    assert parameters["materialized"] > 1.3 * stored
    assert 4 * stored * 0.9 < files["model.stablehlo"]["bytes"] < 4 * stored + 60_000


def test_cifar100_with_dropout(tmp_path, data_dir):
    flags = tiny.cifar_flags(data_dir, data__train_examples=20, data__validation_examples=0)
    config = "--config=configs/cifar100.py:wrn-10-1-dropout"
    out = succeeds("main", config, *flags, f"--workdir={tmp_path}")
    assert "shared: nothing" in out
    assert json.loads((tmp_path / "config.json").read_text())["dropout_rate"] == 0.3
    records = read_metrics(tmp_path / "metrics.jsonl")
    # There is no validation split, so the run evaluates the test split.
    assert {key for record in records for key in record} >= {"eval/accuracy", "target/accuracy"}
    assert not {key for record in records for key in record if key.startswith("test/")}
    # 100 classes, before training.
    assert 2 < records[0]["train/loss"] < 20
    assert not (tmp_path / "similarity").exists()


def test_a_stopped_run_with_averaged_weights_resumes_without_a_trace(tmp_path, trained, data_dir):
    workdir, whole = trained
    assert checksum(train(tmp_path, data_dir, "4 steps")) != checksum(whole)
    gone_on = train(tmp_path, data_dir)
    assert "resuming from step 4 of 6" in gone_on
    assert checksum(gone_on) == checksum(whole)
    last = [read_metrics(folder / "metrics.jsonl")[-1] for folder in (tmp_path, workdir.root)]
    for key in ("eval/loss", "eval/accuracy", "test/loss"):
        assert last[0][key] == last[1][key]
