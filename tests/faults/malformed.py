"""Damaged files: every command that reads one gives the right result or one error line.

    python -m tests.faults.malformed --cases=1000

Damages a random file of a workdir or an export, and lets a command read it. The commands run in this process,
and this suite judges what they raise as the commands do.
"""

import argparse
import contextlib
import functools
import io
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from softshare_jax import config as config_lib
from softshare_jax import loader
from softshare_jax.conversion.exporting import export_run
from softshare_jax.conversion.folding import fold_run
from softshare_jax.errors import RunError, UserError
from softshare_jax.reporting.write import write_report
from softshare_jax.runs.evaluation import evaluate
from softshare_jax.runs.loop import train
from softshare_jax.runs.workdir import Workdir
from softshare_jax.shell import faults, logs
from tests import tiny
from tests.faults.verdict import Tried, Verdict, as_table

# Cases per worker; then a fresh worker replaces it.
SHARE = 50
# Cases per hundred; a report takes seconds, the others less.
WEIGHTS = {"resume": 35, "evaluate": 25, "loader": 30, "fold": 7, "report": 3}
IMAGES = np.random.default_rng(0).integers(0, 2, (3, 8, 8, 2), np.uint8)


def flip(content: bytes, moments: random.Random) -> bytes:
    """Flips a bit."""
    at = moments.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << moments.randrange(8)]) + content[at + 1 :]


def cut(content: bytes, moments: random.Random) -> bytes:
    """Truncates the content, possibly to nothing."""
    return content[: moments.randrange(len(content))]


def zero(content: bytes, moments: random.Random) -> bytes:
    """Fills a part with zeros, like a disk that lost a block."""
    at, size = moments.randrange(len(content)), moments.choice([1, 16, 4096])
    return content[:at] + bytes(len(content[at : at + size])) + content[at + size :]


def digit(content: bytes, moments: random.Random) -> bytes:
    """Changes a digit, which keeps JSON valid; flips a bit if there is no digit."""
    places = [match.start() for match in re.finditer(rb"[0-9]", content)]
    if not places:
        return flip(content, moments)
    at = moments.choice(places)
    other = moments.choice([d for d in b"0123456789" if d != content[at]])
    return content[:at] + bytes([other]) + content[at + 1 :]


DAMAGES = {"bit flipped": flip, "cut": cut, "zeros": zero, "digit changed": digit}


def resume(workdir: Workdir) -> Any:
    """Resumes the finished run up to its end. All results are in the output."""
    train(None, workdir)


def evaluated(workdir: Workdir) -> Any:
    """Evaluates the newest checkpoint."""
    evaluate(None, workdir)


def folded(workdir: Workdir) -> Any:
    """Returns the certificate's description of the network."""
    certificate = fold_run(workdir, Workdir(workdir.root.with_name("out")), threshold=0.05).to_json()
    return {name: certificate[name] for name in ("step", "metric", "parameters", "loops")}


def reported(workdir: Workdir) -> Any:
    """Returns whether there is a page."""
    write_report([workdir])
    return workdir.report_file.exists()


def loaded(workdir: Workdir) -> Any:
    """Returns the logits of an exported network."""
    return np.asarray(loader.load(workdir.root)(IMAGES)).tobytes()


READERS: dict[str, Callable[[Workdir], Any]] = {
    "resume": resume,
    "evaluate": evaluated,
    "fold": folded,
    "report": reported,
    "loader": loaded,
}


# Parts of the output to compare: the end of a run, and scores.
RESULT = re.compile(r"parameter checksum \w{16}|^step \d+  .*eval/.*", re.MULTILINE)


def read(reader: str, workdir: Workdir) -> tuple[Any, str]:
    """Lets a command read a workdir; returns its results and its output."""
    out = io.StringIO()
    logs.configure()  # as a command does
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        found = READERS[reader](workdir)
    results = RESULT.findall(out.getvalue())
    return (found, results[-1:] if reader == "resume" else results), out.getvalue()


def attempt(reader: str, workdir: Workdir, expected: Any) -> tuple[Verdict, str]:
    """Lets a command read a workdir and judges what it does."""
    try:
        found, said = read(reader, workdir)
    except (UserError, RunError) as error:
        return (Verdict.SAID if "\n" not in str(error) else Verdict.TRACEBACK), str(error)
    except Exception as error:
        if fault := faults.explain(error):
            return Verdict.SAID, str(fault)
        return Verdict.TRACEBACK, traceback.format_exc()
    if found == expected:
        return Verdict.RIGHT, ""
    if reader != "resume" and re.search(r"checkpoint \d+ is damaged \(.*\); skipped", said):
        return Verdict.SAID, said  # it used the previous checkpoint
    return Verdict.WRONG, f"{found} in place of {expected}"


def make(root: pathlib.Path) -> None:
    """Makes the run and the export to damage."""
    with contextlib.redirect_stdout(io.StringIO()):
        train(tiny.config(optimizer__ema_decay=0.9), Workdir(root / "run"))
        export_run(Workdir(root / "run"), root / "export")


def strike(root: pathlib.Path, seed: int) -> Tried:
    """Damages one file of a copy, and lets one command read it."""
    moments = random.Random(seed)
    reader = moments.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(
            root / ("export" if reader == "loader" else "run"),
            pathlib.Path(folder) / "copy",
            ignore=shutil.ignore_patterns("tensorboard", ".lock"),
        )
        expected = _expected(root, reader)
        files = sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size)
        file, (damage, change) = moments.choice(files), moments.choice(list(DAMAGES.items()))
        config = _config(copy)
        file.write_bytes(change(file.read_bytes(), moments))
        verdict, said = attempt(reader, Workdir(copy), expected)
        if verdict is Verdict.WRONG and _may_change(config, _config(copy)):
            verdict, said = Verdict.RIGHT, "a field that may change has changed"
        return Tried(f"{damage}, {reader}", verdict, f"seed {seed}, {file.relative_to(copy)}: {said}")


def _config(root: pathlib.Path) -> config_lib.Config | None:
    with contextlib.suppress(UserError, OSError):
        return Workdir(root).read_config()
    return None


def _may_change(before: config_lib.Config | None, after: config_lib.Config | None) -> bool:
    """Returns whether the config changed only in fields that a user may change, such as the duration."""
    return (
        before != after and None not in (before, after) and config_lib.first_difference(before, after) is None
    )


_known: dict[str, Any] = {}


def _expected(root: pathlib.Path, reader: str) -> Any:
    if reader not in _known:
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copytree(
                root / ("export" if reader == "loader" else "run"), pathlib.Path(folder) / "copy"
            )
            _known[reader], _ = read(reader, Workdir(copy))
    return _known[reader]


def run(cases: int, seed: int = 0, workers: int = 1) -> Iterator[Tried]:
    """Runs the cases in fresh processes, and yields the outcomes."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        with spawn.Pool(1) as maker:
            maker.apply(make, (root,))
        with spawn.Pool(workers, maxtasksperchild=SHARE) as pool:
            yield from pool.imap_unordered(functools.partial(strike, root), range(seed, seed + cases))


def main() -> None:
    """Runs this suite and prints a line for each bad outcome, then the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    tried = []
    for one in run(arguments.cases, arguments.seed, arguments.workers):
        tried.append(one)
        if not one.verdict.good:
            print(one.line(), flush=True)
        if len(tried) % 50 == 0:
            print(f"{len(tried)} of {arguments.cases}", file=sys.stderr, flush=True)
    print(as_table(tried))
    sys.exit(any(not one.verdict.good for one in tried))


if __name__ == "__main__":
    main()
