"""Folded runs with other numbers of layers: made, evaluated, exported and trained further."""

import dataclasses
import json
import logging

import jax
import numpy as np
import pytest

from softshare_jax import loader, sharing
from softshare_jax.conversion.exporting import export_run
from softshare_jax.conversion.folding import fold_run
from softshare_jax.conversion.lengthening import lengthen_run
from softshare_jax.errors import UserError
from softshare_jax.runs.evaluation import evaluate
from softshare_jax.runs.load import load
from softshare_jax.runs.loop import train
from softshare_jax.runs.workdir import Workdir
from tests import tiny


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """Returns a gated network that was folded into one layer."""
    root = tmp_path_factory.mktemp("gated")
    train(tiny.config("extrapolation", model="sgated-4-6"), Workdir(root / "run"))
    fold_run(Workdir(root / "run"), Workdir(root / "loop"), threshold=0.0)
    fold_run(Workdir(root / "loop"), Workdir(root / "folded"), tied=True)
    return Workdir(root / "folded")


def lines(caplog, *arguments):
    with caplog.at_level(logging.INFO):
        caplog.clear()
        evaluate(*arguments)
    return [record.getMessage() for record in caplog.records if "eval/f1" in record.getMessage()]


def test_the_longer_run_loops_evaluates_and_exports(folded, tmp_path, caplog):
    made = lengthen_run(folded, Workdir(tmp_path / "longer"), 9)
    longer = load(Workdir(tmp_path / "longer"))
    assert longer.experiment.config.model == "sgated-9-6"
    assert longer.step == made.step == load(folded).step
    layers = sharing.distinct_layers(longer.experiment.plan, longer.variables)["layers"]
    assert sharing.format_loops(sharing.find_loops(layers)).endswith("×9")
    assert lines(caplog, None, Workdir(tmp_path / "longer")) == lines(caplog, None, folded, 9)
    assert lines(caplog, None, folded, 9) != lines(caplog, None, folded)
    description = export_run(Workdir(tmp_path / "longer"), tmp_path / "exported")
    assert description["largest_logit_difference"] < 1e-4
    images = np.asarray(longer.experiment.task.first("test", 0, 3)["images"])
    dense = longer.experiment.programs.to_dense(longer.variables)
    logits = longer.experiment.network.apply(dense, images.astype(np.float32))
    np.testing.assert_allclose(loader.load(tmp_path / "exported")(images), logits, atol=1e-4)


def test_there_and_back(folded, tmp_path):
    lengthen_run(folded, Workdir(tmp_path / "longer"), 7)
    lengthen_run(Workdir(tmp_path / "longer"), Workdir(tmp_path / "back"), 4)
    first, last = load(folded), load(Workdir(tmp_path / "back"))
    assert first.experiment.plan == last.experiment.plan
    jax.tree.map(np.testing.assert_array_equal, first.variables, last.variables)


def test_a_run_of_another_length_trains_on(folded, tmp_path):
    config = folded.read_config()
    config = dataclasses.replace(config, duration="4 steps", loop=dataclasses.replace(config.loop, noise=0.1))
    output = Workdir(tmp_path / "longer")
    lengthen_run(folded, output, 6, config)
    before = load(output)
    train(None, output)
    after = load(output)
    assert (before.step, after.step) == (0, 4)
    weights = sharing.materialize(after.experiment.plan, after.variables)
    for i in range(6):
        kernel = weights[f"layer_{i}"]["conv"]["kernel"]
        np.testing.assert_array_equal(kernel, weights["layer_0"]["conv"]["kernel"])
    moved = after.variables["templates"]["layers"] - before.variables["templates"]["layers"]
    assert np.abs(moved).max() > 1e-4


def test_evaluation_on_other_grids(folded, caplog):
    config = folded.read_config()
    larger = dataclasses.replace(config.data, side=14, windows=(27,), test_examples=12)
    (line,) = lines(caplog, dataclasses.replace(config, data=larger), folded, 8)
    assert "window 27x27" in line
    for changed, message in (
        (
            {"data": dataclasses.replace(larger, split_points=not larger.split_points)},
            "split_points changes the channels",
        ),
        ({"data": larger, "seed": 1}, "another config: seed"),
    ):
        with pytest.raises(UserError, match=message):
            evaluate(dataclasses.replace(config, **changed), folded)


def test_runs_that_cannot_be_lengthened(folded, trained, unshared, tmp_path):
    for workdir, layers, message in (
        (unshared, 9, "cnn-4-6 shares nothing"),
        (trained, 9, r"scnn-4-6 cannot become scnn-9-6: .*(no loops|not shared)"),
        (folded, 1, "sgated-1-6: groups of fewer than two layers"),
    ):
        with pytest.raises(UserError, match=message):
            lengthen_run(workdir, Workdir(tmp_path / "output"), layers)
    assert not (tmp_path / "output").exists()


def test_batch_norm_has_no_counterpart(trained, tmp_path):
    fold_run(trained, Workdir(tmp_path / "folded"), threshold=0.0)
    with pytest.raises(UserError, match=r"block_4/norm/bias, block_4/norm/scale.* more are not shared"):
        lengthen_run(Workdir(tmp_path / "folded"), Workdir(tmp_path / "output"), 9)


def test_the_commands(folded, tmp_path):
    made = tiny.run("convert", f"--folded={folded.root}", "--layers=6", f"--output={tmp_path / 'longer'}")
    assert made.returncode == 0, made.stderr
    assert "holds sgated-6-6 at step" in made.stdout
    assert json.loads((tmp_path / "longer" / "config.json").read_text())["model"] == "sgated-6-6"
    for arguments, message in (
        (["convert", f"--folded={folded.root}", f"--output={tmp_path / 'x'}"], "--folded needs --layers"),
        (["main", f"--workdir={folded.root}", "--layers=8"], "--layers applies to evaluation only"),
        (["fold", f"--workdir={folded.root}", f"--output={tmp_path / 'x'}", "--joint=a"], "no group 'a'"),
    ):
        failed = tiny.run(*arguments)
        assert failed.returncode == 2
        assert message in failed.stderr
        assert len(failed.stderr.splitlines()) == 1
