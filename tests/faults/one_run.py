"""One small run, started through the real command, and how to judge it."""

import pathlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tests import tiny
from tests.faults.verdict import Verdict

# Every start must end within this many seconds.
BOUND = 300


def command(workdir: pathlib.Path, **setting: Any) -> list[str]:
    """Returns the command that trains the run; settings are fields of the config with ``__`` for dots."""
    flags = tiny.flags(**setting)
    return [
        sys.executable,
        "-m",
        "softshare_jax.main",
        "--config=configs/quickstart.py",
        *flags,
        f"--workdir={workdir}",
    ]


def train(
    workdir: pathlib.Path,
    env: Mapping[str, str] | None = None,
    limit: Callable[[], None] | None = None,
    **setting: Any,
) -> subprocess.CompletedProcess[str]:
    """Trains the run to its end, with more environment variables or under a limit."""
    process = subprocess.Popen(
        command(workdir, **setting),
        cwd=tiny.REPO,
        env=tiny.environment(PYTHONFAULTHANDLER="1", **(env or {})),
        preexec_fn=limit,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=BOUND)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # it prints the stack of each thread
        out, err = process.communicate()
        err = f"Traceback of what did not end in {BOUND} s:\n{err}"
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def checksum(output: str) -> str | None:
    """Returns the parameter checksum that a run prints at its end."""
    found = re.search(r"parameter checksum (\w{16})", output)
    return found[1] if found else None


def start_step(output: str) -> int:
    """Returns the step that a run resumed from."""
    found = re.search(r"(?:resuming from|is trained to) step (\d+)", output)
    return int(found[1]) if found else 0


def judge(
    struck: subprocess.CompletedProcess[str],
    again: subprocess.CompletedProcess[str],
    expected: str,
    committed: int,
) -> tuple[Verdict, str]:
    """Judges a run after a fault by its output and by the result of the same command started again.

    Args:
        struck: the run with the fault.
        again: the same command afterwards, without a fault.
        expected: parameter checksum at the end of an undisturbed run.
        committed: the newest step on disk at the fault.
    """
    said = struck.stderr.strip()
    if "Traceback" in again.stderr:
        return Verdict.TRACEBACK, f"then: {again.stderr.strip()[-4000:]}"
    if "Traceback" in said or (struck.returncode > 0 and len(said.splitlines()) != 1):
        return Verdict.TRACEBACK, said[-4000:]
    if struck.returncode == 0 and checksum(struck.stdout) != expected:
        return Verdict.WRONG, struck.stdout[-500:]
    if again.returncode != 0 or start_step(again.stdout) < committed:
        return Verdict.LOST, f"{said} | then: {again.stdout[-500:]} {again.stderr[-500:]}"
    if checksum(again.stdout) != expected:
        return Verdict.WRONG, f"then: {again.stdout[-500:]}"
    return (Verdict.RIGHT if struck.returncode <= 0 else Verdict.SAID), said


def newest_step(workdir: pathlib.Path) -> int:
    """Returns the newest committed step, 0 without one."""
    folder = workdir / "checkpoints"
    return (
        max((int(p.name) for p in folder.glob("*") if p.name.isdigit()), default=0) if folder.exists() else 0
    )
