"""One run in two processes of two devices each, through the real entry point."""

import json
import re
import shutil
import signal
import socket
import time

import numpy as np
import pytest

from tests import tiny

QUICKSTART = "--config=configs/quickstart.py"
# Fifty steps of batch-norm, a loss each.
FLAGS = tiny.flags(
    duration="50 steps", log_every="1 steps", evaluate_every="25 steps", checkpoint_every="25 steps"
)


def environment(devices):
    return {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        # Fake devices share two cores: programs in flight at once could wait for each other for ever.
        "JAX_CPU_ENABLE_ASYNC_DISPATCH": "false",
    }


def start_two(workdir, *flags):
    """Starts both processes of a job."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    job = ("--num_processes=2", f"--coordinator_address={address}", f"--workdir={workdir}")
    return [
        tiny.start("main", QUICKSTART, *flags, *job, f"--process_id={i}", env=environment(2)) for i in (0, 1)
    ]


def end(processes, seconds=120):
    """Waits for both; output and errors of each."""
    return [process.communicate(timeout=seconds) for process in processes]


def losses(workdir):
    records = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {record["step"]: record["train/loss"] for record in records}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A run of 25 steps in two processes, which then goes on to 50."""
    workdir = tmp_path_factory.mktemp("job") / "run"
    first = start_two(workdir, *FLAGS, "--config.duration=25 steps", "--config.optimizer.schedule=constant")
    printed = end(first)
    assert [process.returncode for process in first] == [0, 0], printed
    return workdir, printed


def go_on(workdir, target, devices):
    """Trains a copy of the job on, in one process."""
    shutil.copytree(workdir, target)
    result = tiny.run(
        "main",
        QUICKSTART,
        *FLAGS,
        "--config.optimizer.schedule=constant",
        f"--workdir={target}",
        env=environment(devices),
    )
    assert result.returncode == 0, result.stderr
    assert "going on from step 25 of 50" in result.stdout
    return losses(target)


def test_two_processes_are_one_run(job, tmp_path):
    workdir, ((out, err), (other_out, other_err)) = job
    assert "4 cpu device(s) in 2 process(es)" in out
    assert "trained 25 steps" in out
    # The library that carries a CPU's collectives greets on stdout.
    said = [line for line in other_out.splitlines() if not line.startswith("[Gloo]")]
    assert (err, said, other_err) == ("", [], "")
    # What four devices in two processes saved goes on in two processes, and on two devices and one.
    two, one = (go_on(workdir, tmp_path / str(n), n) for n in (2, 1))
    again = shutil.copytree(workdir, tmp_path / "again")
    processes = start_two(again, *FLAGS, "--config.optimizer.schedule=constant")
    printed = end(processes)
    assert [process.returncode for process in processes] == [0, 0], printed
    alone = tmp_path / "alone"
    result = tiny.run(
        "main", QUICKSTART, *FLAGS, "--config.optimizer.schedule=constant", f"--workdir={alone}"
    )
    assert result.returncode == 0, result.stderr
    expected = losses(alone)
    assert sorted(expected) == list(range(1, 51))
    for found in (losses(again), two, one):
        np.testing.assert_allclose([found[i] for i in range(1, 51)], list(expected.values()), atol=1e-5)


def test_a_signal_to_one_process_stops_both_at_the_same_step(tmp_path):
    processes = start_two(tmp_path / "run", *tiny.flags(duration="100000 steps", log_every="1 steps"))
    line = ""
    while not line.startswith("step 5"):
        line = processes[0].stdout.readline()
        assert line, processes[0].stderr.read()
    processes[1].send_signal(signal.SIGTERM)
    (out, err), _ = end(processes)
    assert [process.returncode for process in processes] == [0, 0], err
    step = re.findall(r"stopped at step (\d+) of 100000", out)[0]
    assert (tmp_path / "run" / "checkpoints" / step / "seal").is_dir()


def test_a_dead_process_ends_the_job_with_a_line(tmp_path):
    processes = start_two(
        tmp_path / "run",
        *tiny.flags(duration="100000 steps", log_every="1 steps"),
        "--heartbeat_timeout_seconds=5",
    )
    while not (line := processes[0].stdout.readline()).startswith("step 5"):
        assert line, processes[0].stderr.read()
    processes[1].kill()
    begin = time.monotonic()
    (_, err), _ = end(processes)
    assert time.monotonic() - begin < 60
    assert processes[0].returncode != 0
    assert "process" in err


def test_mistakes_in_the_flags(tmp_path):
    result = tiny.run("main", QUICKSTART, "--num_processes=2", f"--workdir={tmp_path / 'run'}")
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "--coordinator_address, --num_processes and --process_id" in line
    assert not (tmp_path / "run").exists()
