"""Only checkpoints that are provably damaged are moved aside; other faults give one line and move nothing."""

import dataclasses
import errno
import gc
import json
import os
import resource
import shutil
import sys

import pytest

from softshare_jax.errors import RunError, UserError
from softshare_jax.runs.load import load
from softshare_jax.runs.loop import train
from softshare_jax.runs.workdir import Workdir
from softshare_jax.storage import array_store
from softshare_jax.storage import seal as seal_lib
from softshare_jax.storage.checkpoints import Checkpoints
from softshare_jax.storage.damage import of_the_machine
from softshare_jax.training.experiment import make_experiment
from softshare_jax.training.stages import Stages
from tests.launching import run
from tests.runs.archives import unpack
from tests.storage.corruption import empty, flip


@pytest.fixture
def workdir(tmp_path, trained):
    return Workdir(shutil.copytree(trained.root, tmp_path / "run"))


@pytest.fixture
def old(tmp_path):
    """Returns a run whose seals do not list files."""
    return Workdir(unpack("shared", tmp_path))


def steps(workdir):
    return sorted(int(path.name) for path in workdir.checkpoints.iterdir())


def check_nothing_moves(workdir, error, match):
    before = steps(workdir)
    for command in (load, lambda workdir: train(None, workdir)):
        with pytest.raises(error, match=match) as raised:
            command(workdir)
        assert "\n" not in str(raised.value)
    assert steps(workdir) == before
    assert not workdir.damaged.exists()


OF_THE_MACHINE = {
    "the disk": OSError(errno.EIO, "Input/output error"),
    "too many files": OSError(errno.EMFILE, "Too many open files"),
    "no memory": MemoryError(),
    "the disk, as tensorstore has it": ValueError(
        """Error reading "d/1": Input/output error [os_error_code='5']"""
    ),
    "memory, as XLA has it": RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 64 bytes"),
}


@pytest.mark.parametrize("what", [*OF_THE_MACHINE, "anything else"])
def test_a_fault_that_is_not_provably_damage_moves_nothing(workdir, monkeypatch, what):
    def fail(*arguments):
        raise OF_THE_MACHINE.get(what, LookupError("never heard of"))

    monkeypatch.setattr(array_store, "read", fail)
    check_nothing_moves(workdir, RunError, "checkpoints/16 cannot be read, but is not known to be damaged")


@pytest.mark.parametrize("what", OF_THE_MACHINE)
def test_such_a_fault_moves_nothing_under_an_earlier_seal(old, monkeypatch, what):
    def fail(*arguments):
        try:
            raise OF_THE_MACHINE[what]
        except Exception as error:
            raise ValueError("a library says it in its own way") from error

    monkeypatch.setattr(array_store, "read", fail)
    check_nothing_moves(old, RunError, "not known to be damaged")


def test_a_seal_that_the_disk_cannot_read_moves_nothing(workdir, monkeypatch):
    read_bytes = type(workdir.root).read_bytes

    def fail(path):
        if path.name == "metadata":
            raise OSError(errno.EIO, "Input/output error")
        return read_bytes(path)

    monkeypatch.setattr(type(workdir.root), "read_bytes", fail)
    check_nothing_moves(workdir, RunError, "Input/output error")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts open files in /proc")
# Orbax drops coroutines and event loops that it cannot finish without files; commands silence these warnings.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited", "ignore:unclosed event loop")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_real_limit_on_open_files_moves_nothing(workdir):
    experiment = make_experiment(workdir.read_config(), workdir.read_plan())
    checkpoints, refused = Checkpoints(workdir.checkpoints, Stages(experiment)), 0
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = set(map(int, os.listdir("/proc/self/fd")))
    free = next(number for number in range(limits[0]) if number not in opened)
    for more in range(8):
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, limits[1]))
        try:
            assert int(checkpoints.restore(workdir.damaged).step) == 16
        except (RunError, OSError):
            refused += 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    gc.collect()
    assert refused
    assert int(checkpoints.restore(workdir.damaged).step) == 16
    checkpoints.close()


def test_another_plan_on_an_old_checkpoint_moves_nothing(old):
    plan = json.loads(old.plan_file.read_text())
    plan["groups"][0]["templates"] = 2
    old.plan_file.write_text(json.dumps(plan))
    check_nothing_moves(old, UserError, r"another config or plan: \S+ was \(4, 4\) and is now \(4, 2\)")


def test_damage_is_told_from_the_machine():
    assert not of_the_machine(FileNotFoundError(errno.ENOENT, "No such file or directory"))
    assert not of_the_machine(ValueError("No such file or directory [os_error_code='2']"))
    assert not of_the_machine(ValueError("DATA_LOSS: CRC-32C checksum verification failed"))
    assert of_the_machine(ExceptionGroup("both", [ValueError("x"), OSError(errno.EIO, "Input/output error")]))


def test_a_run_with_only_damaged_checkpoints_never_starts_over(workdir, capfd):
    records = workdir.metrics_file.read_bytes()
    for step in steps(workdir):
        empty(workdir.checkpoints / str(step))
    for _ in range(2):
        with pytest.raises(
            RunError, match=r"all checkpoints of .* were damaged and are now in .*damaged; train in"
        ):
            train(None, workdir)
    assert "a new run" not in capfd.readouterr().out
    assert workdir.metrics_file.read_bytes() == records


def test_restarts_do_not_start_such_a_run_over(workdir):
    for step in steps(workdir):
        flip(workdir.checkpoints / str(step))
    result = run(
        sys.executable, "launch/local.py", "--processes=1", "--restarts=1", "--", f"--workdir={workdir.root}"
    )
    assert result.returncode == 1, result.stdout
    assert result.stdout.count("all checkpoints of") == 2
    assert "a new run" not in result.stdout


@pytest.mark.parametrize(
    "content", [b'{"target/f1": 0.4\xff}', b'{"target/g1": 0.4}', b"[]", b"", b'{"target/f1": "best"}']
)
def test_a_damaged_score_of_an_earlier_version_is_ignored(old, content):
    for step in steps(old):
        file = old.checkpoints / str(step) / seal_lib.EARLIER_METRICS
        if file.exists():
            file.write_bytes(content)
    newest = max(steps(old))
    assert load(old).step == newest
    config = dataclasses.replace(old.read_config(), duration=f"{newest + 1} steps")
    train(config, old)
    assert load(old).step == newest + 1
