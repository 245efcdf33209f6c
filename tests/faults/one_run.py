"""One small run, started as a person starts it, and what is right for it."""

import os
import pathlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tests import tiny
from tests.faults.verdict import Verdict

# Seconds in which a start ends, whatever happens to it.
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
    """Trains the run to its end, with other variables of the environment or under a limit."""
    process = subprocess.Popen(
        command(workdir, **setting),
        cwd=tiny.REPO,
        env={**os.environ, "PYTHONFAULTHANDLER": "1", **(env or {})},
        preexec_fn=limit,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=BOUND)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # it says where each thread is
        out, err = process.communicate()
        err = f"Traceback of what did not end in {BOUND} s:\n{err}"
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def checksum(output: str) -> str | None:
    """Returns the checksum of the parameters that a run says at its end."""
    found = re.search(r"parameter checksum (\w{16})", output)
    return found[1] if found else None


def start_step(output: str) -> int:
    """Returns the step that a run went on from."""
    found = re.search(r"(?:going on from|is trained to) step (\d+)", output)
    return int(found[1]) if found else 0


def judge(
    struck: subprocess.CompletedProcess[str],
    again: subprocess.CompletedProcess[str],
    expected: str,
    committed: int,
) -> tuple[Verdict, str]:
    """Judges a run that was struck, by what it said and by where the same command then leads.

    Args:
        struck: the run with the fault.
        again: the same command after it, without one.
        expected: checksum of the parameters where an undisturbed run ends.
        committed: the newest step that was on disk.
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
    """Returns the newest step that is committed, 0 where there is none."""
    folder = workdir / "checkpoints"
    return (
        max((int(p.name) for p in folder.glob("*") if p.name.isdigit()), default=0) if folder.exists() else 0
    )
