"""Two processes in one workdir: the second writer learns who the first is, and readers are not disturbed."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from softshare_jax.errors import RunError, UserError
from softshare_jax.runs.loop import train
from softshare_jax.runs.workdir import Workdir
from softshare_jax.storage import step_reader
from softshare_jax.storage.checkpoints import Checkpoints
from softshare_jax.training.experiment import make_experiment
from softshare_jax.training.stages import Stages
from tests import tiny


@pytest.fixture
def workdir(tmp_path, trained):
    return Workdir(shutil.copytree(trained.root, tmp_path / "run"))


def test_the_lock_comes_before_the_config(workdir):
    # Another job may rewrite files that are read before the lock.
    workdir.config_file.write_text("{")
    with workdir.lock(), pytest.raises(UserError, match="another process is writing to"):
        train(tiny.config(seed=3), Workdir(workdir.root))
    assert workdir.config_file.read_text() == "{"


def test_a_run_that_another_process_just_started_is_left_alone(tmp_path, tiny_config, monkeypatch):
    workdir, lock = Workdir(tmp_path / "run"), Workdir.lock

    def late(self):
        self.write_run(tiny.config(seed=5), make_experiment(tiny_config).plan)
        return lock(self)

    monkeypatch.setattr(Workdir, "lock", late)
    with pytest.raises(UserError, match=r"another process started a run in .*; try again"):
        train(tiny_config, workdir)
    assert workdir.read_config().seed == 5
    assert not workdir.checkpoints.exists()


def test_the_second_writer_learns_who_the_first_one_is(workdir):
    with workdir.lock():
        workdir.sign_lock()
        holder = json.loads(workdir.lock_file.read_text())
        assert (holder["host"], holder["pid"]) == (socket.gethostname(), os.getpid())
        message = f"{workdir.root}: process {os.getpid()} on {socket.gethostname()}, since {holder['since']}"
        with pytest.raises(UserError, match=message.replace("+", r"\+")):
            train(None, Workdir(workdir.root))
        # The signature of an ended process names nobody.
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        for text in (json.dumps({**holder, "pid": ended.pid}), "", "[]", "{"):
            workdir.lock_file.write_text(text)
            with pytest.raises(UserError, match=f"{workdir.root}$"):
                train(None, Workdir(workdir.root))


def test_a_refused_start_does_not_sign(workdir):
    workdir.lock_file.unlink()
    with pytest.raises(UserError, match="another config"):
        train(tiny.config(seed=3), workdir)
    assert workdir.lock_file.read_text() == ""
    with workdir.lock():
        pass


@pytest.fixture
def live(tmp_path):
    """Returns the checkpoints of a run that keeps one, and a function that saves a step."""
    experiment = make_experiment(tiny.config(keep_checkpoints=1))
    root = tmp_path / "checkpoints"
    checkpoints, state = Checkpoints(root, Stages(experiment)), experiment.programs.init_state()

    def save(step):
        checkpoints.save(state.replace(step=step), None)
        checkpoints.wait()

    save(1)
    yield root, experiment, save
    checkpoints.close()


def test_a_reader_beside_a_run_reports_no_damage(live, capfd):
    root, experiment, save = live
    reader, stop, found = Checkpoints(root, Stages(experiment)), threading.Event(), []

    def go_on():
        step = 2
        while not stop.is_set():
            save(step)
            step += 1

    run = threading.Thread(target=go_on)
    run.start()
    try:
        deadline = time.monotonic() + 60
        while len(found) < 20 or (found[-1] == found[0] and time.monotonic() < deadline):
            found.append(reader.read_variables()[0])
    finally:
        stop.set()
        run.join()
    assert found == sorted(found)
    assert found[-1] > found[0]
    assert capfd.readouterr().out == ""


def test_a_step_stays_while_it_is_read_and_goes_afterwards(live, monkeypatch):
    root, experiment, save = live
    read, reader = step_reader.read, Checkpoints(root, Stages(experiment))

    def read_slowly(folder, *arguments):
        if folder.name == "1":
            save(2)
            assert folder.exists()
        return read(folder, *arguments)

    monkeypatch.setattr(step_reader, "read", read_slowly)
    assert reader.read_variables()[0] == 1
    save(3)
    assert reader.steps() == [3]


def test_a_reader_replaces_a_vanished_step_with_a_current_one(live, monkeypatch, capfd):
    root, experiment, save = live
    read, reader = step_reader.read, Checkpoints(root, Stages(experiment))

    def vanish(folder, *arguments):
        if folder.name == "1":
            shutil.move(root / "1", root.parent / "elsewhere")
            save(2)
        return read(folder, *arguments)

    monkeypatch.setattr(step_reader, "read", vanish)
    assert reader.read_variables()[0] == 2
    assert capfd.readouterr().out == ""
    with pytest.raises(UserError, match="holds no step 1; it holds 2"):
        reader.read_variables(step=1)

    def always(folder, *arguments):
        folder.rename(root / str(int(folder.name) + 1))
        return read(folder, *arguments)

    monkeypatch.setattr(step_reader, "read", always)
    with pytest.raises(RunError, match="deleted faster than they can be read"):
        reader.read_variables()


def test_a_clock_that_jumps_does_not_end_a_save(live, monkeypatch):
    _, _, save = live
    begin, now = time.monotonic(), time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600 * (1 + int((time.monotonic() - begin) * 100)))
    save(2)
