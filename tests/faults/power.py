"""Power loss: a run resumes from what was flushed to disk.

    python -m tests.faults.power --cuts=20

A run trains on an ext4 file system in a file. At a random moment the run is stopped and the file is copied,
without data that the system has not written yet. The copy is what a power loss leaves. Mounting needs root on
Linux.
"""

import argparse
import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from tests import tiny
from tests.faults.one_run import checksum, command, start_step, train
from tests.faults.verdict import Tried, Verdict, report

SETTING = {
    "data__phase": "60 steps",
    "log_every": "20 steps",
    "evaluate_every": "20 steps",
    "checkpoint_every": "2 steps",
}
STEPS, SIZE = 120, "96M"


def possible() -> bool:
    """Returns whether this process can make and mount file systems."""
    return os.geteuid() == 0 and all(map(shutil.which, ("mkfs.ext4", "mount", "umount")))


@contextlib.contextmanager
def mounted(image: pathlib.Path, folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Mounts an image of a file system and yields its folder."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def cut(root: pathlib.Path, setting: dict[str, str], expected: str, moment: float) -> Tried:
    """Cuts the power of a run some seconds after its first step, and resumes from what is left."""
    image, copy = root / "disk", root / "after"
    for path in (image, copy):
        path.unlink(missing_ok=True)
    subprocess.run(["truncate", "-s", SIZE, image], check=True)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    with mounted(image, root / "mounted") as disk:
        process = subprocess.Popen(
            command(disk / "run", **setting),
            cwd=tiny.REPO,
            env=tiny.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        checkpoints = disk / "run" / "checkpoints"
        begin = time.monotonic()
        while not _steps(checkpoints) and process.poll() is None and time.monotonic() - begin < 120:
            time.sleep(0.05)
        time.sleep(moment)
        process.send_signal(signal.SIGSTOP)
        there = _steps(checkpoints)
        shutil.copyfile(image, copy)
        process.kill()
        process.wait()
    # A step is renamed before the new name is on disk. Older steps are deleted only after that.
    certain = there[-2] if len(there) > 1 else 0
    with mounted(copy, root / "mounted") as disk:
        again = train(disk / "run", **setting)
    detail = f"after {moment:.1f} s, steps {there}: went on from {start_step(again.stdout)}"
    if again.returncode or start_step(again.stdout) < certain:
        return Tried("power loss", Verdict.LOST, f"{detail}: {again.stderr.strip()}")
    verdict = Verdict.RIGHT if checksum(again.stdout) == expected else Verdict.WRONG
    return Tried("power loss", verdict, detail)


def _steps(checkpoints: pathlib.Path) -> list[int]:
    return sorted(int(path.name) for path in checkpoints.glob("*") if path.name.isdigit())


def run(cuts: int, seed: int = 0, steps: int = STEPS) -> Iterator[Tried]:
    """Cuts the power of runs of some steps and yields the outcomes; yields nothing if it cannot mount."""
    if not possible():
        print("power loss is left out: it needs root, and mkfs.ext4", file=sys.stderr)
        return
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        setting = {**SETTING, "duration": f"{steps} steps"}
        undisturbed = train(root / "undisturbed", **setting)
        expected = checksum(undisturbed.stdout)
        assert expected, undisturbed.stderr
        for _ in range(cuts):
            yield cut(root, setting, expected, moments.uniform(0, 4))


def main() -> None:
    """Runs this suite and prints a line for each cut, then the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    report(run(arguments.cuts, arguments.seed))


if __name__ == "__main__":
    main()
