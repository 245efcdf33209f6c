"""Failing calls: a run whose n-th call to the file system fails prints one line and loses nothing.

    python -m tests.faults.calls --every=5

Needs a C compiler: `interposer.c` fails the call.
"""

import argparse
import errno
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

from tests.faults.one_run import checksum, judge, newest_step, train
from tests.faults.verdict import Tried, report

SETTING = {"duration": "8 steps", "data__phase": "4 steps"}
# Fails once, or permanently.
ERRORS = {"I/O error": (errno.EIO, 0), "disk full": (errno.ENOSPC, 1)}
FILES = (16, 32, 48, 64, 96, 128)
MEMORY = (1, 2, 3, 4, 6, 8)


def interposer(folder: pathlib.Path) -> pathlib.Path | None:
    """Compiles the library that fails calls into a folder; returns ``None`` without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    source, library = pathlib.Path(__file__).with_name("interposer.c"), folder / "interposer.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def run(every: int, first: int = 1, limits: bool = True) -> Iterator[Tried]:
    """Fails every n-th call of a run with each error, and yields the outcomes.

    Args:
        every: n.
        first: the first call that fails.
        limits: whether to also start runs under limits on files and memory.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        undisturbed = train(folder / "undisturbed", **SETTING)
        expected = checksum(undisturbed.stdout)
        assert expected, undisturbed.stderr
        if library := interposer(folder):
            env = {
                "LD_PRELOAD": str(library),
                "FAULT_ROOT": str(folder / "run"),
                "FAULT_COUNT": str(folder / "count"),
            }
            train(folder / "run", env, **SETTING)
            number = int((folder / "count").read_text().split()[0])
            for what, (code, stays) in ERRORS.items():
                for call in range(first, number + 1, every):
                    at = {"FAULT_AT": str(call), "FAULT_ERRNO": str(code), "FAULT_STAYS": str(stays)}
                    yield _strike(folder / "run", what, f"call {call} of {number}", expected, {**env, **at})
        else:
            print("no C compiler on this machine: failing calls are left out", file=sys.stderr)
        if limits:
            for most in FILES:
                limit = _limit(resource.RLIMIT_NOFILE, most)
                yield _strike(folder / "run", "few open files", f"{most} files", expected, limit=limit)
            for most in MEMORY:
                limit = _limit(resource.RLIMIT_AS, most * 2**30)
                yield _strike(folder / "run", "out of memory", f"{most} GiB", expected, limit=limit)


def _strike(
    workdir: pathlib.Path,
    what: str,
    detail: str,
    expected: str,
    env: dict[str, str] | None = None,
    limit: Callable[[], None] | None = None,
) -> Tried:
    shutil.rmtree(workdir, ignore_errors=True)
    struck = train(workdir, env, limit, **SETTING)
    committed = newest_step(workdir)
    again = train(workdir, **SETTING)
    verdict, said = judge(struck, again, expected, committed)
    return Tried(what, verdict, f"{detail}: {said}")


def _limit(what: int, most: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(what, (most, most))


def main() -> None:
    """Runs this suite and prints a line for each fault, then the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--every", type=int, default=40, help="n: of the calls every n-th is struck (40)")
    parser.add_argument("--first", type=int, default=1, help="the call to begin with")
    parser.add_argument("--no_limits", action="store_true", help="leave limits of files and memory out")
    arguments = parser.parse_args()
    report(run(arguments.every, arguments.first, not arguments.no_limits))


if __name__ == "__main__":
    main()
