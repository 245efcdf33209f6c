"""Injects faults into training runs and resumes them: they must end bit for bit like an undisturbed run.

    python -m tests.faults.strikes --faults=100 --table=docs/reliability.md

A run, in one process or in two, is killed or asked to stop, or its disk is filled, its folder made read-only
or its newest checkpoint damaged. After each fault the job must end within a bound,
and the next start must resume from the newest intact checkpoint. A disk that can be filled, and a folder that
even root cannot write, need root on Linux; otherwise these faults are skipped.
"""

import argparse
import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests import COMPILE_FAST, tiny

SETTING = {
    "data.phase": "80 steps",
    "log_every": "20 steps",
    "evaluate_every": "40 steps",
    "checkpoint_every": "2 steps",
    "keep_checkpoints": 4,
}
STEPS, FAULTS_OF_A_RUN = 200, 5
# Seconds from a fault to the end of the job: more than a missed heartbeat plus the launcher's grace.
BOUND = 60
GRACE = 5
DISK = "64m"
NAMES = {
    "kill": "SIGKILL to a process",
    "terminate": "SIGTERM to the job",
    "fill": "disk full",
    "lock": "folder read-only",
    "damage": "newest checkpoint damaged",
}
MARKS = ("<!-- faults -->\n", "<!-- end of faults -->\n")


class Struck(NamedTuple):
    """The outcome of one fault.

    Attributes:
        fault: its name.
        processes: number of processes of the job.
        seconds: from the fault to the end of the job.
        lost: steps lost between the newest intact checkpoint and the next start.
    """

    fault: str
    processes: int
    seconds: float
    lost: int


class Job:
    """One start of a run, in one process or in several under the launcher."""

    def __init__(self, workdir: pathlib.Path, processes: int, steps: int):
        setting = {**SETTING, "duration": f"{steps} steps"}
        flags = ("--config=configs/quickstart.py", *tiny.flags(**setting), f"--workdir={workdir}")
        launcher = ("launch/local.py", f"--processes={processes}", "--devices=1", f"--grace={GRACE}", "--")
        command = ("-m", "softshare_jax.main", *flags) if processes == 1 else (*launcher, *flags)
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=tiny.REPO,
            env={**os.environ, "XLA_FLAGS": COMPILE_FAST, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.said: list[str] = []
        self._announced = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as out:
            for line in out:
                self.said.append(line.strip())
                if re.search(r"a new run of|resuming from step|is trained to step", line):
                    self._announced.set()
        self._announced.set()

    def start_step(self) -> int:
        """Waits until the state is restored; returns the step that the run resumes from, 0 for a new run."""
        self._announced.wait()
        found = re.search(r"(?:resuming from|is trained to) step (\d+)", self.output())
        return int(found[1]) if found else 0

    def workers(self) -> list[int]:
        """Returns the ids of the training processes."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()] or [self.process.pid]

    def ends_within(self, seconds: float) -> bool:
        """Returns whether the job ends by itself within some seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
            self._reader.join()
            return True
        return False

    def output(self) -> str:
        """Returns all output so far."""
        return "\n".join(self.said)


class Victim:
    """A run in a folder, and the faults that can be injected."""

    def __init__(self, workdir: pathlib.Path, processes: int, steps: int, moments: random.Random):
        self.workdir, self.processes, self.steps, self.moments = workdir, processes, steps, moments
        self.checkpoints = workdir / "checkpoints"
        self.filler = workdir.parent / "filler"

    def committed(self) -> list[int]:
        """Returns the steps on disk, in order."""
        return sorted(int(path.name) for path in self.checkpoints.glob("*") if path.name.isdigit())

    def kill(self, job: Job) -> None:
        """Kills a process; in a job of two processes the other one loses its peer."""
        os.kill(self.moments.choice(job.workers()), signal.SIGKILL)

    def terminate(self, job: Job) -> None:
        """Asks the job to stop, as a scheduler does at the time limit."""
        job.process.send_signal(signal.SIGTERM)

    def fill(self, job: Job) -> None:
        """Fills the disk."""
        with contextlib.suppress(OSError), open(self.filler, "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(1 << 14))

    def lock(self, job: Job) -> None:
        """Makes the folder of checkpoints read-only, even for root."""
        self.checkpoints.mkdir(exist_ok=True)
        subprocess.run(["chattr", "+i", self.checkpoints], check=True)

    def damage(self, job: Job) -> bool:
        """Kills the job, then flips a bit of its newest checkpoint, or cuts or deletes a file of it.

        A single checkpoint is not damaged: other tests check that a run without a fallback ends with an
        error. Returns whether anything was damaged.
        """
        self.kill(job)
        job.ends_within(BOUND)
        if damages := len(steps := self.committed()) > 1:
            files = [p for p in (self.checkpoints / str(steps[-1])).rglob("*") if p.is_file()]
            file = self.moments.choice([path for path in files if path.stat().st_size])
            how = self.moments.choice(["flip", "cut", "delete"])
            if how == "delete":
                file.unlink()
            elif how == "cut":
                os.truncate(file, file.stat().st_size // 2)
            else:
                content = bytearray(file.read_bytes())
                content[self.moments.randrange(len(content))] ^= 1 << self.moments.randrange(8)
                file.write_bytes(content)
        return damages

    def mend(self) -> None:
        """Undoes faults that outlast a job."""
        self.filler.unlink(missing_ok=True)
        if self.checkpoints.exists() and os.geteuid() == 0:
            subprocess.run(["chattr", "-i", self.checkpoints], check=True)


def strike(victim: Victim, faults: list[str], expected: str, seconds: float) -> Iterator[Struck]:
    """Trains a run through faults to its end, and yields the outcomes.

    Raises:
        RuntimeError: a job did not end within the bound, or the run ended elsewhere than the
            undisturbed one.
    """
    struck: Struck | None = None
    whole = 0
    for fault in [*faults, None]:
        job = Job(victim.workdir, victim.processes, victim.steps)
        start = job.start_step()
        if struck is not None:
            yield struck._replace(lost=max(0, whole - start))
        if fault is None or job.ends_within(victim.moments.uniform(0, seconds)):
            break
        steps = victim.committed()
        begin = time.monotonic()
        if getattr(victim, fault)(job) is False:
            fault = "kill"
        if not job.ends_within(BOUND):
            os.killpg(job.process.pid, signal.SIGKILL)
            raise RuntimeError(f"{NAMES[fault]}: the job did not end within {BOUND} s:\n{job.output()}")
        struck = Struck(fault, victim.processes, time.monotonic() - begin, 0)
        victim.mend()
        if fault == "damage":
            steps = victim.committed()[:-1]
        whole = steps[-1] if steps else 0
    if not job.ends_within(600) or checksum(job) != expected:
        raise RuntimeError(f"after {', '.join(faults)} the run ended elsewhere:\n{job.output()}")


def undisturbed(workdir: pathlib.Path, processes: int, steps: int) -> tuple[str, float]:
    """Returns the checksum of an undisturbed run, and its training time in seconds."""
    job = Job(workdir, processes, steps)
    job.start_step()
    begin = time.monotonic()
    if not job.ends_within(600):
        raise RuntimeError(f"the undisturbed run does not end:\n{job.output()}")
    return checksum(job), time.monotonic() - begin


def checksum(job: Job) -> str:
    """Returns the parameter checksum that a finished run prints."""
    found = re.search(r"parameter checksum (\w{16})", job.output())
    if found is None:
        raise RuntimeError(f"the run did not end well:\n{job.output()}")
    return found[1]


@contextlib.contextmanager
def small_disk() -> Iterator[tuple[pathlib.Path, list[str]]]:
    """Yields a folder on its own small file system, and the faults that are possible there."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        mounted = (
            os.geteuid() == 0
            and not subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder], capture_output=True
            ).returncode
        )
        probe = folder / "probe"
        probe.mkdir()
        lockable = mounted and not subprocess.run(["chattr", "+i", probe], capture_output=True).returncode
        if lockable:
            subprocess.run(["chattr", "-i", probe], check=True)
        left_out = {*([] if mounted else ["fill"]), *([] if lockable else ["lock"])}
        try:
            yield folder, [fault for fault in NAMES if fault not in left_out]
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", folder], check=True)


def run(
    number: int,
    seed: int,
    processes: Sequence[int] = (1, 2),
    kinds: Sequence[str] = tuple(NAMES),
    steps: int = STEPS,
) -> Iterator[Struck]:
    """Injects faults into runs and yields the outcomes.

    Args:
        number: number of faults.
        seed: seed for the times and the order of faults.
        processes: process counts of the jobs, in turn.
        kinds: keys of ``NAMES``; faults that are impossible here are skipped.
        steps: length of a run.

    Raises:
        RuntimeError: as for ``strike``.
    """
    moments = random.Random(seed)
    with small_disk() as (folder, there):
        expected = {}
        for p in processes:
            expected[p] = undisturbed(folder / "undisturbed", p, steps)
            shutil.rmtree(folder / "undisturbed")
        done = turn = 0
        while done < number:
            p = processes[turn % len(processes)]
            victim = Victim(folder / f"run-{turn}", p, steps, moments)
            possible = [kind for kind in kinds if kind in there]
            faults = [*moments.sample(possible, len(possible)), *moments.choices(possible, k=FAULTS_OF_A_RUN)]
            checksum, seconds = expected[p]
            left = min(FAULTS_OF_A_RUN, number - done)
            for struck in strike(victim, faults[:left], checksum, seconds / 3):
                done += 1
                yield struck
            shutil.rmtree(victim.workdir)
            turn += 1


def as_table(struck: list[Struck]) -> str:
    """Returns the outcomes of all faults as a Markdown table."""
    lines = [
        "| fault | processes | faults | lost a whole checkpoint | job ended in, median (most) |",
        "|---|---|---|---|---|",
    ]
    for fault, name in NAMES.items():
        for processes in sorted({one.processes for one in struck}):
            some = [one for one in struck if (one.fault, one.processes) == (fault, processes)]
            if some:
                seconds = [one.seconds for one in some]
                took = f"{statistics.median(seconds):.1f} s ({max(seconds):.1f} s)"
                lost = sum(one.lost > 0 for one in some)
                lines.append(f"| {name} | {processes} | {len(some)} | {lost} | {took} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs this suite, prints a line for each fault, and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="of the jobs, in turn")
    parser.add_argument("--kinds", nargs="+", choices=NAMES, default=list(NAMES), help="of faults")
    parser.add_argument("--table", type=pathlib.Path, help="page whose table is replaced")
    arguments = parser.parse_args()
    struck = []
    for one in run(arguments.faults, arguments.seed, arguments.processes, arguments.kinds):
        struck.append(one)
        print(
            f"fault {len(struck)}: {NAMES[one.fault]}, {one.processes} process(es): the job ended in "
            f"{one.seconds:.1f} s, the next went on with {one.lost} steps lost",
            flush=True,
        )
    table = as_table(struck)
    print(f"{table}every run ended bit for bit where the undisturbed one did")
    if arguments.table:
        before, _, rest = arguments.table.read_text().partition(MARKS[0])
        arguments.table.write_text(before + MARKS[0] + table + MARKS[1] + rest.partition(MARKS[1])[2])
    sys.exit(any(one.lost for one in struck))


if __name__ == "__main__":
    main()
