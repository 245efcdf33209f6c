"""Concurrent commands: two starts of one run, two outputs of one name, and readers of a live run.

python -m tests.faults.beside --rounds=5
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from tests import tiny
from tests.faults.one_run import BOUND, checksum, command, newest_step, train
from tests.faults.verdict import Tried, Verdict, report

SETTING = {
    "duration": "30 steps",
    "data__phase": "15 steps",
    "checkpoint_every": "1 step",
    "keep_checkpoints": 1,
}


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Starts a command."""
    return subprocess.Popen(
        arguments,
        cwd=tiny.REPO,
        env=tiny.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def module(name: str, *arguments: str) -> list[str]:
    """Returns the command line of a module of the package."""
    return [sys.executable, "-m", f"softshare_jax.{name}", *arguments]


def end(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Waits for a command to end."""
    out, err = process.communicate(timeout=BOUND)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def one_of_two(what: str, ends: Sequence[subprocess.CompletedProcess[str]], whole: bool) -> Tried:
    """Judges two commands that want the same output; one of them may have it.

    Args:
        what: kind of fault.
        ends: results of both commands.
        whole: whether the output is complete.
    """
    codes = sorted(e.returncode for e in ends)
    said = " | ".join(e.stderr.strip() for e in ends)
    if "Traceback" in said:
        return Tried(what, Verdict.TRACEBACK, said[-1000:])
    if not whole or 0 not in codes:
        return Tried(what, Verdict.LOST, f"exit codes {codes}: {said}")
    one_line = all(len(e.stderr.splitlines()) == 1 for e in ends if e.returncode)
    if codes == [0, 0]:
        # Two starts may run one after the other: the second finds a finished run. Outputs have one winner.
        return Tried(what, Verdict.RIGHT if what == "two starts" else Verdict.WRONG, said)
    return Tried(what, Verdict.SAID if one_line else Verdict.TRACEBACK, said)


def run(rounds: int) -> Iterator[Tried]:
    """Tries each pair ``rounds`` times and yields the outcomes."""
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        expected = checksum(train(root / "undisturbed", **SETTING).stdout)
        assert expected
        source = f"--workdir={root / 'undisturbed'}"
        for number in range(rounds):
            both = [start(command(root / f"run-{number}", **SETTING)) for _ in range(2)]
            ends = [end(process) for process in both]
            whole = expected in {checksum(e.stdout) for e in ends}
            yield one_of_two("two starts", ends, whole)
            for name, extra, file in (
                ("fold", ["--threshold=0"], "certificate.json"),
                ("export", [], "export.json"),
            ):
                output = root / f"{name}-{number}"
                ends = [
                    end(p)
                    for p in [start(module(name, source, f"--output={output}", *extra)) for _ in range(2)]
                ]
                left = sorted(path.name for path in root.iterdir() if path.name.startswith(output.name))
                yield one_of_two(f"two outputs of {name}", ends, (output / file).exists() and len(left) == 1)
            yield _reader(root / f"beside-{number}")


def _reader(workdir: pathlib.Path) -> Tried:
    """Evaluates a live run that deletes each checkpoint soon after it is made."""
    training = start(command(workdir, **{**SETTING, "duration": "4000 steps"}))
    try:
        begin = time.monotonic()
        while newest_step(workdir) < 3 and training.poll() is None and time.monotonic() - begin < 120:
            time.sleep(0.05)
        done = end(start(module("main", "--mode=evaluate", f"--workdir={workdir}")))
    finally:
        training.kill()
        training.communicate()
    said = f"{done.stdout.strip()[-300:]} {done.stderr.strip()}"
    if "Traceback" in said:
        return Tried("a reader beside a run", Verdict.TRACEBACK, said)
    damaged = "damaged" in said or (workdir / "damaged").exists()
    if damaged or done.returncode:
        return Tried("a reader beside a run", Verdict.WRONG, said)
    return Tried("a reader beside a run", Verdict.RIGHT, said)


def main() -> None:
    """Runs this suite and prints a line for each pair, then the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    report(run(arguments.rounds))


if __name__ == "__main__":
    main()
