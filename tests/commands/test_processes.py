"""One run in two processes of two devices each, through the real entry point."""

import pathlib
import re
import signal
import socket
import sys
import threading
import time

import jax
import numpy as np

from softshare_jax.job import listening
from softshare_jax.runs.load import load
from softshare_jax.runs.records import read_metrics
from softshare_jax.runs.workdir import Workdir
from softshare_jax.storage.checkpoints import Checkpoints
from softshare_jax.training.experiment import make_experiment
from softshare_jax.training.stages import Stages
from tests import COMPILE_FAST, tiny
from tests.training.stepping import check_same_losses, take_steps

QUICKSTART = "--config=configs/quickstart.py"
# One phase, a constant learning rate and a loss for each step; only the signal ends the run.
SETTING = {
    "duration": "100000 steps",
    "data.phase": "100000 steps",
    "optimizer.schedule": "constant",
    "log_every": "1 steps",
    "evaluate_every": "100000 steps",
    "checkpoint_every": "100000 steps",
}


def environment(devices):
    return {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} {COMPILE_FAST}",
        # Fake devices share two cores: concurrent programs could wait endlessly for each other.
        "JAX_CPU_ENABLE_ASYNC_DISPATCH": "false",
    }


def start_two(workdir, *flags):
    """Starts both processes of a job."""
    flags = (*tiny.flags(**SETTING), *flags)
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    job = ("--num_processes=2", f"--coordinator_address={address}", f"--workdir={workdir}")
    return [
        tiny.start("main", QUICKSTART, *flags, *job, f"--process_id={i}", env=environment(2)) for i in (0, 1)
    ]


def port_of(process):
    """Returns the coordinator's port from the arguments of a process."""
    (address,) = (one for one in process.args if one.startswith("--coordinator_address="))
    return int(address.rpartition(":")[2])


def listeners(port):
    """Returns the local addresses on which a process listens at a port."""
    found = []
    for version, file in ((socket.AF_INET, "/proc/net/tcp"), (socket.AF_INET6, "/proc/net/tcp6")):
        for line in pathlib.Path(file).read_text().splitlines()[1:] if pathlib.Path(file).exists() else ():
            address, hexadecimal = line.split()[1].split(":")
            if (int(hexadecimal, 16), line.split()[3]) == (port, "0A"):
                # Four-byte words in native byte order.
                words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
                packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
                found.append(socket.inet_ntop(version, packed).removeprefix("::ffff:"))
    return found


def end(processes, seconds=120):
    """Waits for both processes; returns output and errors of each."""
    return [process.communicate(timeout=seconds) for process in processes]


def wait_for(process, step, seconds=120):
    """Reads and returns the output of a process until it reaches a step."""
    out, too_long = "", threading.Timer(seconds, process.kill)
    too_long.start()
    try:
        while not out.rpartition("\n")[2].startswith(f"step {step}/"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            out = out + "\n" + line.rstrip()
    finally:
        too_long.cancel()
    return out


def test_one_signal_stops_two_processes_and_other_devices_resume(tmp_path):
    workdir = Workdir(tmp_path / "run")
    processes = start_two(workdir.root)
    begun = wait_for(processes[0], 20)
    assert listeners(port_of(processes[0])) == ["127.0.0.1"]
    assert "4 cpu device(s) in 2 process(es)" in begun
    processes[1].send_signal(signal.SIGTERM)
    (out, err), (other_out, other_err) = end(processes)
    # Both stop, although only one received the signal.
    assert [process.returncode for process in processes] == [143, 143], (err, other_err)
    # The library for CPU collectives prints to stdout from several threads, which can share a line.
    said = [line for line in other_out.splitlines() if not re.search("Gloo|peer ranks", line)]
    assert (err, said, other_err) == ("", [], "")
    stopped = int(re.findall(r"stopped at step (\d+) of 100000", out)[0])
    assert [record["step"] for record in read_metrics(workdir.metrics_file)] == list(range(1, stopped + 1))

    # Evaluation in both processes and in one; each process prints its own error line.
    processes = start_two(workdir.root, "--mode=evaluate")
    wrong = start_two(workdir.root, "--mode=evaluate", "--config.seed=1")
    (out, err), (_, other_err) = end(processes)
    assert ([process.returncode for process in processes], err, other_err) == ([0, 0], "", "")
    alone = load(workdir)
    dense = alone.experiment.programs.to_dense(alone.variables)
    scores = [alone.experiment.evaluator.evaluate(dense, phase) for phase in (0, 1)]
    found = re.findall(rf"step {stopped} .*eval/loss ([\d.]+)  eval/f1 ([\d.]+)", out)
    np.testing.assert_allclose(np.array(found, float), [[s["loss"], s["f1"]] for s in scores], atol=1e-4)
    for process, (_, err) in zip(wrong, end(wrong), strict=True):
        (line,) = err.splitlines()
        assert (process.returncode, "another config: seed was" in line) == (2, True)

    # The losses are the same in two processes of two devices, and in one of four devices or one.
    config = workdir.read_config()
    found = [record["train/loss"] for record in read_metrics(workdir.metrics_file)[:20]]
    for devices in (4, 1):
        check_same_losses(found, take_steps(config, devices, 20)[0], depth=6)
    # A checkpoint of four devices resumes equally on four, two and one.
    four, two, one = (take_steps(config, n, 10, restored(workdir, n))[0] for n in (4, 2, 1))
    for fewer in (two, one):
        check_same_losses(fewer, four, depth=6)


def restored(workdir, devices):
    experiment = make_experiment(workdir.read_config(), devices=jax.devices()[:devices])
    checkpoints = Checkpoints(workdir.checkpoints, Stages(experiment))
    state = checkpoints.restore(workdir.damaged)
    checkpoints.close()
    assert not workdir.damaged.exists()
    return state


def test_a_dead_process_ends_the_job_with_a_line(tmp_path):
    processes = start_two(tmp_path / "run", "--heartbeat_timeout_seconds=5")
    wait_for(processes[0], 2)
    processes[1].kill()
    begin = time.monotonic()
    (_, err), _ = end(processes)
    assert time.monotonic() - begin < 60
    assert processes[0].returncode != 0
    assert "lost contact with the others" in err or "heartbeat" in err, err


def test_mistakes_in_the_flags(tmp_path):
    result = tiny.run("main", QUICKSTART, "--num_processes=2", f"--workdir={tmp_path / 'run'}")
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "--coordinator_address, --num_processes and --process_id" in line
    assert not (tmp_path / "run").exists()


def test_the_coordinator_listens_at_a_reachable_address(monkeypatch):
    for address, expected in (
        ("127.0.0.1:8476", "127.0.0.1:8476"),
        ("localhost:8476", "127.0.0.1:8476"),
        ("0.0.0.0:8476", "0.0.0.0:8476"),
        ("192.0.2.1:8476", None),  # not an address of this machine: reached by translation
        ("no-such-host.invalid:8476", None),
    ):
        assert listening.bind_address(address) == expected
    # The name resolves to a loopback address only, which other machines cannot reach.
    own = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.1.1", 8476))
    real = (
        socket.AF_INET,
        socket.SOCK_STREAM,
        6,
        "",
        ("0.0.0.0", 8476),
    )  # can be bound on any machine
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [own])
    assert listening.bind_address("node-0:8476") is None
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [own, real])
    assert listening.bind_address("node-0:8476") == "0.0.0.0:8476"
