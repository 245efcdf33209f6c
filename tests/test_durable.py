"""A committed step is on disk with everything that a run needs to resume from it."""

import errno
import json
import os
import pathlib
import shutil
import threading

import pytest

from softshare_jax import durable
from softshare_jax.conversion.output import new_folder
from softshare_jax.errors import RunError
from softshare_jax.runs.loop import train
from softshare_jax.runs.workdir import Workdir
from softshare_jax.storage.checkpoints import Checkpoints
from softshare_jax.training.experiment import make_experiment
from softshare_jax.training.stages import Stages
from tests import tiny


class Disk:
    """Records what a power loss would leave: files and folders as last flushed."""

    def __init__(self, monkeypatch):
        self.flushed = {}
        self._fsync, self._replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "replace", self.replace)
        self.on_rename = lambda source, target: None

    def fsync(self, descriptor):
        self._fsync(descriptor)
        facts = os.fstat(descriptor)
        self.flushed[facts.st_ino] = (facts.st_size, facts.st_mtime_ns)

    def replace(self, source, target):
        self.on_rename(pathlib.Path(source), pathlib.Path(target))
        self._replace(source, target)

    def lost(self, *paths):
        """Returns the paths whose current state is not on disk."""
        facts = [(path, path.stat()) for path in paths]
        return [p for p, s in facts if self.flushed.get(s.st_ino) != (s.st_size, s.st_mtime_ns)]

    def knows(self, *paths):
        """Returns size and time of the last path at its flush. Every path must have been flushed."""
        return [self.flushed[path.stat().st_ino] for path in paths][-1]


def test_a_step_is_on_disk_before_its_rename_and_before_older_ones_are_deleted(tmp_path, monkeypatch):
    disk, workdir, committed, deleted = Disk(monkeypatch), Workdir(tmp_path / "new" / "run"), [], []

    def check(source, target):
        if source.name == f"{target.name}.saving":
            step = int(target.name)
            assert {"variables", "optimizer", "seal"} <= {path.name for path in source.iterdir()}
            similarity = [workdir.similarity / f"{s:08d}.npz" for s in range(0, step + 1, 4)]
            small = [workdir.config_file, workdir.plan_file, *similarity]
            assert disk.lost(source, *source.rglob("*"), *small) == []
            # The run later writes more into these.
            assert disk.knows(
                workdir.root, workdir.root.parent, workdir.root.parent.parent, workdir.similarity
            )
            flushed = workdir.metrics_file.read_bytes()[: disk.knows(workdir.metrics_file)[0]]
            assert json.loads(flushed.splitlines()[step // 4 - 1])["step"] == step
            committed.append(step)
        if target.name == f"{source.name}.deleting":
            # The newer step's name is also on disk.
            assert disk.lost(workdir.checkpoints / str(committed[-1]), workdir.checkpoints) == []
            deleted.append(int(source.name))

    disk.on_rename = check
    train(tiny.config(keep_checkpoints=1), workdir)
    assert committed == [4, 8, 12, 16]
    assert deleted == [4, 8, 12]
    # The last records are also on disk.
    assert disk.lost(*workdir.checkpoints.rglob("*"), workdir.metrics_file) == []


def test_a_new_folder_is_on_disk_before_its_rename(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)

    def check(source, target):
        if target == tmp_path / "out":
            assert disk.lost(source, *source.rglob("*")) == []

    disk.on_rename = check
    with new_folder(tmp_path / "out") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("content")
    assert disk.lost(tmp_path, *tmp_path.rglob("*")) == []


def test_a_failed_write_leaves_the_old_content_and_no_other_file(tmp_path, monkeypatch):
    file = tmp_path / "file"
    durable.write(file, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        durable.write(file, b"new")
    assert (file.read_bytes(), list(tmp_path.iterdir())) == (b"old", [file])


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    contents = [bytes([number]) * 10_000 for number in range(8)]

    def write(content):
        for _ in range(20):
            durable.write(tmp_path / "file", content)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if (tmp_path / "file").exists():
            assert (tmp_path / "file").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_whose_folder_is_deleted_says_so(tmp_path, monkeypatch):
    workdir = Workdir(tmp_path / "run")
    sync = Workdir.sync

    def delete_then_sync(self):
        shutil.rmtree(tmp_path / "run")
        sync(self)

    monkeypatch.setattr(Workdir, "sync", delete_then_sync)
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        train(tiny.config(), workdir)


@pytest.mark.parametrize(
    ("broken", "fault", "error", "message"),
    [
        ("fsync_tree", OSError(errno.EIO, "Input/output error"), OSError, "Input/output error"),
        ("rename", OSError(errno.ENOSPC, "No space left on device"), OSError, "No space left"),
        (
            "fsync_tree",
            ValueError("""Error writing "d/1": No space left on device [os_error_code='28']"""),
            RunError,
            "^checkpoint 2 cannot be saved: No space left on device$",
        ),
    ],
)
def test_a_failed_commit_makes_no_step_and_deletes_none(tmp_path, monkeypatch, broken, fault, error, message):
    experiment = make_experiment(tiny.config(keep_checkpoints=1))
    checkpoints, state = (
        Checkpoints(tmp_path / "checkpoints", Stages(experiment)),
        experiment.programs.init_state(),
    )
    checkpoints.save(state.replace(step=1), None)
    checkpoints.wait()

    def fail(*arguments):
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(durable, broken, fail)
        checkpoints.save(state.replace(step=2), None)
        with pytest.raises(error, match=message):
            checkpoints.close()
    again = Checkpoints(tmp_path / "checkpoints", Stages(experiment))
    assert int(again.restore(tmp_path / "damaged").step) == 1
    # Files of the failed commit are gone.
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1"]
    assert not (tmp_path / "damaged").exists()
