"""Kills runs with SIGKILL at random moments and resumes them: do they end where an undisturbed run ends?

    python -m tests.kill --runs=20

Prints a line for each run and exits with 1 if any differs. A run checkpoints every other step,
so that many kills fall into a save.
"""

import argparse
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

from tests import tiny

STEPS = 200
SETTING = {
    "duration": f"{STEPS} steps",
    "data.phase": "80 steps",
    "log_every": "20 steps",
    "evaluate_every": "40 steps",
    "checkpoint_every": "2 steps",
}


class Killed(NamedTuple):
    """What became of one run.

    Attributes:
        kills: how often it was killed.
        partial: after how many kills a save was found unfinished on disk.
        same: whether its final parameters are bit for bit those of the undisturbed run.
    """

    kills: int
    partial: int
    same: bool


def kill_and_resume(folder: pathlib.Path, runs: int, seed: int) -> Iterator[Killed]:
    """Trains one run undisturbed, then ``runs`` runs with kills; yields what became of each."""
    moments = random.Random(seed)
    expected, seconds = undisturbed(folder / "undisturbed")
    for number in range(runs):
        workdir = folder / f"run-{number}"
        kills = partial = 0
        while True:
            process = start(workdir)
            first = process.stdout.readline()
            # The run announces itself once its state is restored, and half of what a whole run takes
            # from there on is soon enough that nearly every run is killed, most more than once.
            limit = moments.uniform(0, seconds / 2) if kills < 6 else None
            try:
                out, err = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
                partial += bool(list(workdir.glob("checkpoints/*.orbax-checkpoint-tmp*")))
                continue
            if process.returncode:
                raise RuntimeError(f"the run failed: {err}")
            yield Killed(kills, partial, checksum(first + out) == expected)
            break


def undisturbed(workdir: pathlib.Path) -> tuple[str, float]:
    """Returns the checksum of a run that nobody killed, and the seconds it trained."""
    process = start(workdir)
    first = process.stdout.readline()
    begin = time.monotonic()
    out, err = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the undisturbed run failed: {err}")
    return checksum(first + out), time.monotonic() - begin


def start(workdir: pathlib.Path) -> subprocess.Popen[str]:
    """Starts or resumes a run through the ordinary entry point."""
    return tiny.start(
        "main", "--config=configs/quickstart.py", *tiny.flags(**SETTING), f"--workdir={workdir}"
    )


def checksum(out: str) -> str:
    """Returns the parameter checksum that a finished run prints."""
    match = re.search(r"parameter checksum (\w{16})", out)
    if match is None:
        raise RuntimeError(f"no checksum in: {out}")
    return match[1]


def main() -> None:
    """Runs it and prints a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, run in enumerate(
            kill_and_resume(pathlib.Path(folder), arguments.runs, arguments.seed), 1
        ):
            different += not run.same
            outcome = "bit-identical" if run.same else "DIFFERENT"
            kills = f"killed {run.kills} times, {run.partial} during a save"
            print(f"run {number}/{arguments.runs}: {kills}: {outcome}", flush=True)
    print(f"{arguments.runs - different} of {arguments.runs} runs ended bit-identical")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
