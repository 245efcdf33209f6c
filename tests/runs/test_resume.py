"""Stopped and resumed runs end bit for bit like undisturbed ones."""

import dataclasses
import json
import shutil
import signal

import pytest

from softshare_jax.errors import RunError, UserError
from softshare_jax.runs.loop import train
from softshare_jax.runs.records import Records, read_metrics, read_similarity
from softshare_jax.runs.workdir import Workdir
from tests import tiny
from tests.faults.strikes import NAMES, run
from tests.runs.final import final_checksum


def copy(workdir, target):
    return Workdir(shutil.copytree(workdir.root, target))


def test_a_trained_workdir_is_complete(trained):
    names = {path.name for path in trained.root.iterdir()}
    assert {"config.json", "plan.json", "metrics.jsonl", "checkpoints", "similarity", "tensorboard"} <= names
    records = read_metrics(trained.metrics_file)
    assert [record["step"] for record in records] == [4, 8, 12, 16]
    assert {"phase", "train/loss", "train/f1", "eval/loss", "eval/f1", "target/f1"} <= set(records[-1])
    assert sorted(read_similarity(trained)) == [0, 4, 8, 12, 16]
    (events,) = trained.tensorboard.iterdir()
    assert events.stat().st_size > 500


def test_an_extended_run_is_the_longer_run(tmp_path, trained, tiny_config):
    config = dataclasses.replace(
        tiny_config, optimizer=dataclasses.replace(tiny_config.optimizer, schedule="constant")
    )
    stopped, whole = Workdir(tmp_path / "stopped"), Workdir(tmp_path / "whole")
    train(dataclasses.replace(config, duration="10 steps"), stopped)
    train(config, stopped)
    train(config, whole)
    assert final_checksum(stopped) == final_checksum(whole)
    steps = [record["step"] for record in read_metrics(stopped.metrics_file)]
    assert steps == [4, 8, 10, 12, 16]


def test_a_finished_run_is_left_alone(tmp_path, trained, capfd):
    workdir = copy(trained, tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in workdir.checkpoints.rglob("*")}
    train(None, workdir)
    assert "trained to step 16 of 16; parameter checksum" in capfd.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in workdir.checkpoints.rglob("*")} == before


def test_records_after_the_checkpoint_and_torn_lines_are_dropped(tmp_path, trained):
    workdir = copy(trained, tmp_path / "run")
    with open(workdir.metrics_file, "a") as file:
        file.write('{"step": 20, "train/lo')
    assert read_metrics(workdir.metrics_file)[-1]["step"] == 16
    Records(workdir, step=8).close()
    assert [json.loads(line)["step"] for line in workdir.metrics_file.read_text().splitlines()] == [4, 8]
    assert sorted(read_similarity(workdir)) == [0, 4, 8]


def test_another_config_is_refused_and_nothing_written(tmp_path, trained):
    workdir = copy(trained, tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in workdir.root.rglob("*")}
    with pytest.raises(UserError, match="another config: seed was 0 and is now 1"):
        train(tiny.config(seed=1), workdir)
    assert {p: p.stat().st_mtime_ns for p in workdir.root.rglob("*")} == before


def test_one_writer_at_a_time(tmp_path, tiny_config):
    workdir = Workdir(tmp_path / "run")
    workdir.create()
    with workdir.lock(), pytest.raises(UserError, match="another process is writing"):
        train(tiny_config, Workdir(tmp_path / "run"))


def test_a_loss_that_is_not_finite_stops_the_run_and_is_not_saved(tmp_path):
    workdir = Workdir(tmp_path / "run")
    with pytest.raises(
        RunError, match=r"the loss is nan by step \d+; .* lower config.optimizer.learning_rate"
    ):
        train(tiny.config(optimizer__name="sgd", optimizer__learning_rate=1e30), workdir)
    assert not list(workdir.checkpoints.glob("[0-9]*"))


def test_profile(tmp_path):
    workdir = Workdir(tmp_path / "run")
    train(tiny.config(profile_steps=2, duration="8 steps"), workdir)
    assert list(workdir.profile.rglob("*.xplane.pb"))


@pytest.mark.parametrize("steps", [5, 100])
def test_a_profile_of_many_steps_at_a_time_or_of_more_steps_than_there_are(tmp_path, steps):
    workdir = Workdir(tmp_path / "run")
    everies = dict.fromkeys(("log_every", "evaluate_every", "checkpoint_every", "data__phase"), "8 steps")
    train(tiny.config(profile_steps=steps, steps_per_dispatch=32, duration="16 steps", **everies), workdir)
    assert list(workdir.profile.rglob("*.xplane.pb"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_says_how_to_resume(tmp_path, number):
    # The run is so long that only the signal ends it.
    flags = tiny.flags(duration="100000 steps", log_every="1 steps")
    process = tiny.start("main", "--config=configs/quickstart.py", *flags, f"--workdir={tmp_path / 'run'}")
    line = ""
    while not line.startswith("step 9"):
        line = process.stdout.readline()
        assert line, process.stderr.read()
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    assert err == ""
    last = out.splitlines()[-1]
    assert last.startswith("stopped at step ")
    assert last.endswith("run the same command again to resume")
    step = int(last.split()[3])
    assert (tmp_path / "run" / "checkpoints" / str(step)).is_dir()


def test_faults_at_random_moments_lose_nothing():
    # `make faults` injects a hundred, also in jobs of two processes. A run raises if its end differs from
    # the undisturbed one.
    struck = list(run(5, seed=0, processes=[1], steps=60))
    assert len(struck) == 5
    assert [one.lost for one in struck] == [0] * 5
    assert {one.fault for one in struck} <= set(NAMES)
