"""Faults and settings of the machine: one line and the right exit code, and what libraries are told."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from softshare_jax.errors import RunError, UserError
from softshare_jax.job import cluster
from softshare_jax.reporting import poster
from softshare_jax.shell import devices, environment, faults
from tests import forking, tiny
from tests.commands.lines import check, check_fault

QUICKSTART = "--config=configs/quickstart.py"


@pytest.fixture(scope="module")
def commands(tmp_path_factory, trained):
    """Returns every command that computes, with valid arguments."""
    root = tmp_path_factory.mktemp("commands")
    return {
        "main": (QUICKSTART, *tiny.flags(), f"--workdir={root / 'run'}"),
        "fold": (f"--workdir={trained.root}", f"--output={root / 'fold'}"),
        "convert": (f"--shared={trained.root}", "--k=2", f"--output={root / 'convert'}"),
        "export": (f"--workdir={trained.root}", f"--output={root / 'export'}"),
        "report": (f"--workdir={trained.root}",),
    }


@pytest.mark.parametrize("command", ["main", "fold", "convert", "export"])
def test_a_missing_platform(commands, command):
    result = tiny.run(command, *commands[command], env={"JAX_PLATFORMS": "cuda"})
    check(result, "JAX_PLATFORMS=cuda matches no device of this machine")


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory):
    """Returns a folder on a full file system."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system of its own needs root")
    try:
        (folder / "run").mkdir()
        with contextlib.suppress(OSError), open(folder / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(1 << 12))
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("command", ["main", "fold", "convert", "export"])
def test_a_full_disk(commands, small_disk, command):
    where = {"main": "--workdir"}.get(command, "--output")
    arguments = [a for a in commands[command] if not a.startswith(f"{where}=")]
    before = sorted(path.name for path in small_disk.iterdir())
    result = forking.run(command, *arguments, f"{where}={small_disk / 'run' / command}")
    check_fault(result, "No space left on device", code=1)
    assert sorted(path.name for path in small_disk.iterdir()) == before


def test_a_full_disk_for_the_poster(small_disk, monkeypatch):
    # Counting the parameters of all networks takes long, so write another page.
    monkeypatch.setattr(poster, "render", lambda runs, command: "page" * 2000)
    before = sorted(path.name for path in small_disk.iterdir())
    with pytest.raises(RunError, match="No space left on device") as caught:
        poster.write_poster(small_disk / "run" / "poster", [], "command")
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in small_disk.iterdir()) == before


def test_faults_are_told_from_bugs():
    disk = OSError(28, os.strerror(28), "/disk/file")
    assert str(faults.explain(disk)) == "No space left on device: /disk/file"
    text = "NOT_FOUND: Error writing \"/disk/a\": No space [os_error_code='28' source locations='...']"
    assert str(faults.explain(ValueError(text))) == "No space left on device: /disk/a"
    assert "out of memory" in str(faults.explain(MemoryError()))
    assert "refused another thread" in str(faults.explain(RuntimeError("can't start new thread")))
    assert isinstance(faults.explain(disk), RunError)
    for bug in (ValueError("a shape is wrong"), KeyError("name"), RuntimeError("")):
        assert faults.explain(bug) is None
    with pytest.raises(KeyError) as caught:
        _fail_to_clean_up(disk)
    assert "No space" in str(faults.explain(caught.value))


def _fail_to_clean_up(fault):
    try:
        raise fault
    except OSError:
        raise KeyError("while cleaning up") from None


def test_ctrl_c_ends_a_command_with_a_line(tmp_path, commands):
    process = tiny.start("report", *commands["report"])
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    if process.returncode:  # it may already have ended
        assert process.returncode == 130
        assert len(err.splitlines()) <= 1
    process = tiny.start("fold", *commands["fold"])
    time.sleep(0.3)  # while it imports
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in err


SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
}


def test_variables_of_jobs():
    assert cluster.detect({}) is None
    assert cluster.detect(dict(SLURM)).processes == 4
    # A shell in a job of four processes: its own step has one.
    assert cluster.detect({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}).processes == 1
    with pytest.raises(UserError, match=r"SLURM_NTASKS=many is not a number; --num_processes=1 runs"):
        cluster.detect({**SLURM, "SLURM_NTASKS": "many"})
    with pytest.raises(UserError, match=r"process 5 \(SLURM_PROCID\) of 4"):
        cluster.detect({**SLURM, "SLURM_PROCID": "5"})
    with pytest.raises(UserError, match="OMPI_COMM_WORLD_SIZE is missing"):
        cluster.detect({"OMPI_MCA_orte_hnp_uri": "0.0;tcp://10.0.0.1:1"})
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert cluster.detect(pod) is None
    assert pod == {}


def test_a_shell_of_a_job_and_one_process_of_it(tmp_path):
    shell = {**SLURM, "SLURM_STEP_NUM_TASKS": "1"}
    arguments = (QUICKSTART, *tiny.flags(duration="4 steps"), f"--workdir={tmp_path / 'run'}")
    result = tiny.run("main", *arguments, env=shell)
    assert (result.returncode, result.stderr) == (0, "")
    assert "1 cpu device(s) in 1 process(es)" in result.stdout


def test_a_terminal_that_cannot_print_everything(trained, tmp_path):
    output = tmp_path / "folded"
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    result = tiny.run(
        "fold", f"--workdir={trained.root}", f"--output={output}", "--threshold=0", env=ascii_only
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert r"(1)\xd74" in result.stdout


def test_libtpu_is_quiet_without_a_tpu():
    environ: dict[str, str] = {}
    environment.quiet_libtpu(environ, tpu=True)
    assert "JAX_PLATFORMS" not in environ
    environment.quiet_libtpu(environ, tpu=False)
    quiet = dict(environ)
    environment.quiet_libtpu(environ, tpu=False)
    assert environ == quiet
    given = {"TPU_MIN_LOG_LEVEL": "0"}
    environment.quiet_libtpu(given, tpu=False)
    assert given["TPU_MIN_LOG_LEVEL"] == "0"


def test_output_that_cannot_be_stored():
    if not pathlib.Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "softshare_jax.describe", "cnn-4-8"]
        result = subprocess.run(
            command, cwd=tiny.REPO, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert (result.returncode, result.stderr) == (1, "error: No space left on device\n")


def test_another_kind_of_random_keys(tmp_path):
    arguments = (QUICKSTART, *tiny.flags(duration="4 steps"))
    ends = [
        tiny.run("main", *arguments, f"--workdir={tmp_path / name}", env={"JAX_DEFAULT_PRNG_IMPL": name})
        for name in ("rbg", "threefry2x32")
    ]
    assert [result.returncode for result in ends] == [0, 0], ends
    first, second = (result.stdout.rpartition("parameter checksum ")[2][:16] for result in ends)
    assert first == second


def test_compiled_programs_are_cached_unless_the_user_chose(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    environ = {}
    environment.cache_programs(environ)
    folder = pathlib.Path(environ["JAX_COMPILATION_CACHE_DIR"])
    assert folder.parent == tmp_path / "softshare_jax" / "programs"
    chosen = {"JAX_COMPILATION_CACHE_DIR": "mine", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "7"}
    given = dict(chosen)
    environment.cache_programs(given)
    assert given == chosen


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="an option of glibc")
def test_large_blocks_stay_with_the_process():
    program = """if True:
        import resource, sys
        import numpy as np
        from softshare_jax.shell import environment
        if sys.argv[1] == "keep":
            environment.keep_memory()
        np.ones(10_000_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            np.ones(10_000_000)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    faults = {
        word: int(
            subprocess.run([sys.executable, "-c", program, word], capture_output=True, check=True).stdout
        )
        for word in ("keep", "return")
    }
    assert faults["keep"] < faults["return"] / 5


def test_a_limit_on_memory_that_jax_cannot_live_with(monkeypatch):
    monkeypatch.setattr(devices.resource, "getrlimit", lambda _: (2**30, 2**30))
    with pytest.raises(RunError, match=r"limited to 1\.0 GiB of addresses \(ulimit -v\), and jax needs 1\.5"):
        devices.check()
