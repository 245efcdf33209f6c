"""The shrunk ImageNet config on generated images through the real commands."""

import json
import os
import re
import runpy

import pytest

from softshare_jax import config as config_lib
from softshare_jax.errors import UserError
from softshare_jax.reporting.examples import predict
from softshare_jax.runs.read import read
from softshare_jax.runs.records import read_metrics
from softshare_jax.runs.workdir import Workdir
from softshare_jax.training.experiment import make_experiment
from tests import forking, tiny
from tests import imagenet as fakes

# A network for small images compiles in a fraction of the time.
CONFIG = "--config=configs/imagenet.py:swrn-16-1-1"
# With a constant learning rate, a shorter run is the start of a longer one.
SETTINGS = {
    "data.classes": 3,
    "data.train_examples": 24,
    "data.image_size": 32,
    "data.resize": 36,
    "data.label_smoothing": 0.1,
    "data.threads": 2,
    "optimizer.schedule": "constant",
    "optimizer.milestones": "()",
    "optimizer.warmup": "3 steps",
    "batch_size": 4,
    "log_every": "2 steps",
    "evaluate_every": "6 steps",
    "checkpoint_every": "6 steps",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Returns a folder with 24 training and 9 test images, unusual class names, and unrelated files."""
    root = fakes.write_folder(tmp_path_factory.mktemp("imagenet"))
    for split in ("train", "val"):
        # In label order: not UTF-8, a script that the font lacks, a formula.
        for old, new in zip(fakes.CLASSES, (b"$\\frac$", b"n\xe9", "犬".encode()), strict=True):
            os.rename(root / split / old, os.fsencode(root / split) + b"/" + new)
        (root / split / ".ipynb_checkpoints").mkdir()
        (root / split / ".DS_Store").touch()
    return root


def flags(folder, *more, **changes):
    values = {**SETTINGS, "data_dir": folder, **changes}
    return [CONFIG, *(f"--config.{name}={value}" for name, value in values.items()), *more]


def train(workdir, folder, duration):
    result = forking.run("main", *flags(folder, f"--workdir={workdir}", duration=duration))
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory, folder):
    """Returns a run of 2.5 epochs in two starts, and the output of the second start."""
    workdir = Workdir(tmp_path_factory.mktemp("imagenet-run") / "run")
    train(workdir.root, folder, "5 steps")
    return workdir, train(workdir.root, folder, "10 steps")


def checksum(out):
    (found,) = re.findall(r"parameter checksum ([0-9a-f]{16})", out)
    return found


def test_a_stopped_run_resumes_without_a_trace(tmp_path, trained, folder):
    workdir, out = trained
    assert "resuming from step 5 of 10" in out
    assert checksum(train(tmp_path, folder, "10 steps")) == checksum(out)
    records = {record["step"]: record for record in read_metrics(workdir.metrics_file)}
    assert list(records) == [2, 4, 5, 6, 8, 10]
    assert {"train/top_5", "eval/loss", "eval/accuracy", "eval/top_5", "target/accuracy"} <= set(records[10])
    # The 9 test images without padding. Any top five contain all three classes.
    assert records[10]["eval/accuracy"] * 9 == pytest.approx(
        round(records[10]["eval/accuracy"] * 9), abs=1e-5
    )
    assert records[10]["eval/top_5"] == 1


def test_fold_and_report(tmp_path, trained):
    workdir, _ = trained
    (last,) = (record for record in read_metrics(workdir.metrics_file) if record["step"] == 10)
    folded = tmp_path / "folded"
    result = forking.run(
        "fold", f"--workdir={workdir.root}", f"--output={folded}", "--threshold=0", "--batch_norm_batches=2"
    )
    assert (result.returncode, result.stderr) == (0, "")
    certificate = json.loads((folded / "certificate.json").read_text())
    assert certificate["metric"]["measured_on"] == "9 test examples, imagenet2012"
    assert certificate["metric"]["before"] == pytest.approx(last["eval/accuracy"], abs=1e-6)
    assert certificate["loops"]["stage_1"] == "(1)×2"

    predictions = predict(read(Workdir(folded), workdir.read_config().data_dir))
    assert not predictions.problem
    assert "of the first 9 test images" in predictions.text
    assert predictions.rows[0].title == "the first test images"
    assert len(predictions.rows[0].examples) == 8


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "steps_per_dispatch",
            8,
            "config.steps_per_dispatch is 8; it must be 0 or 1 for imagenet2012",
        ),
        ("data.resize", 100, "config.data.resize is 100; it must be at least data.image_size"),
        ("data.min_crop_area", 0.0, "config.data.min_crop_area is 0.0; it must be above 0 and at most 1"),
        ("optimizer.warmup", "soon", "config.optimizer.warmup is 'soon'; it must be a duration such as"),
        ("zero_init_residual", True, "config.zero_init_residual is True, and wrn-10-1 has no"),
        ("model", "cnn-4-8", "cnn-4-8 predicts a value for every pixel; imagenet2012 needs another"),
    ],
)
def test_mistakes_in_the_config(field, value, message):
    values = runpy.run_path(str(tiny.REPO / "configs" / "imagenet.py"))["get_config"]("wrn-10-1")
    # The network is for small images.
    small = {} if field.startswith("data.") else {"data.image_size": 32}
    values.update_from_flattened_dict({**small, field: value})
    with pytest.raises(UserError) as caught:
        make_experiment(config_lib.from_dict(values.to_dict()))
    assert str(caught.value).startswith(message)


def fails(folder, workdir):
    result = forking.run("main", *flags(folder, f"--workdir={workdir}", duration="10 steps"))
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    return line


def test_missing_and_damaged_images_are_a_line(tmp_path):
    line = fails(tmp_path / "none", tmp_path / "run")
    assert line.startswith(f"error: imagenet2012 is not in {tmp_path / 'none'}: put the folders")
    assert not (tmp_path / "run").exists()
    root = fakes.write_folder(tmp_path / "data")
    for file in (root / "train").rglob("*.JPEG"):
        file.write_bytes(file.read_bytes()[:200])
    line = fails(root, tmp_path / "run")
    assert line.startswith(f"error: {root}/train/n0")
    assert line.endswith("): replace it")
