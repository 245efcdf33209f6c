"""Comparisons of networks: commands that train them, rows of JSON lines, scores, tables and a figure."""

import argparse
import concurrent.futures
import json
import math
import pathlib
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from softshare_jax import durable, sharing
from softshare_jax.errors import UserError
from softshare_jax.reporting import matrices
from softshare_jax.reporting.chart import Figure
from softshare_jax.runs.records import read_similarity
from softshare_jax.runs.workdir import Workdir

Row = dict[str, Any]
Result = TypeVar("Result")
THRESHOLD = 0.9


def run(command: str, *arguments: object) -> None:
    """Runs a command to its end; ends with its exit code if it fails or is interrupted."""
    done = subprocess.run([sys.executable, "-m", f"softshare_jax.{command}", *map(str, arguments)])
    if done.returncode:
        sys.exit(done.returncode)


def train(config: str, folder: pathlib.Path, fields: Mapping[str, object]) -> Workdir:
    """Trains or resumes a run of a shipped config, such as ``'shortest_paths:scnn'``."""
    run("main", f"--config={config}", f"--workdir={folder}", *flags(fields))
    return Workdir(folder)


def fold(trained: Workdir, folder: pathlib.Path, *more: str) -> Workdir:
    """Folds a run into a folder, unless it is there; ``more`` are further flags of the command."""
    if not folder.exists():
        run("fold", f"--workdir={trained.root}", f"--output={folder}", *more)
    return Workdir(folder)


def in_parallel(
    jobs: int, run: Callable[..., Result], runs: Sequence[tuple[Any, ...]]
) -> Generator[Result, None, None]:
    """Calls ``run(*arguments)`` for each of ``runs``, ``jobs`` at a time, and yields the results in order.

    After a failure or an interruption no further run starts. Close the iterator to stop it early.
    """
    stopped = threading.Event()

    def unless_stopped(arguments: tuple[Any, ...]) -> Result:
        if stopped.is_set():
            raise concurrent.futures.CancelledError
        try:
            return run(*arguments)
        except BaseException:
            stopped.set()
            raise

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(unless_stopped, runs)
        finally:
            stopped.set()


def flags(fields: Mapping[str, object]) -> list[str]:
    """Returns fields of a config as flags of a command."""
    return [f"--config.{name}={value}" for name, value in fields.items()]


def positive(text: str) -> int:
    """Reads a number that is at least 1, for ``argparse``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def read(file: pathlib.Path) -> list[Row]:
    """Returns the rows that were measured before."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def check_settings(file: pathlib.Path, rows: Iterable[Row], settings: Row) -> None:
    """Checks that rows that are there were measured with the settings of this command.

    Raises:
        UserError: a row has another value.
    """
    for row in rows:
        for name, value in settings.items():
            if row.get(name, value) != value:
                raise UserError(
                    f"{file} has rows with {name} {row[name]}, not {value}: name another --output"
                )


def write(file: pathlib.Path, rows: Iterable[Row]) -> None:
    """Writes all rows; an earlier file is replaced."""
    durable.write(file, "".join(json.dumps(row) + "\n" for row in rows).encode())


def show(file: pathlib.Path, text: str) -> None:
    """Writes a table to a file, and prints it."""
    durable.write(file, text.encode())
    print(text)


def loops(plan: sharing.Plan, variables: dict[str, Any]) -> dict[str, str]:
    """Returns the loops of each group after a fold at ``THRESHOLD``, such as ``{'query': '1 (2)×3'}``."""
    distinct = sharing.distinct_layers(*sharing.fold(plan, variables, THRESHOLD))
    return {group: sharing.format_loops(sharing.find_loops(layers)) for group, layers in distinct.items()}


def f1(found: np.ndarray, labels: np.ndarray) -> float:
    """Returns F1 over all pixels of grids, both ``[N, H, W]`` bool."""
    return 2 * int((found & labels).sum()) / max(int(found.sum() + labels.sum()), 1)


def similarity_over_time(file: str, runs: Mapping[str, Workdir], steps: int) -> Figure:
    """Draws the coefficient LSM of runs with one group each: a row for each run, a column for each time.

    Args:
        file: name of the figure.
        runs: by the name of the row.
        steps: number of steps of each run.
    """
    history: dict[int, dict[str, np.ndarray]] = {}
    for name, run in runs.items():
        found = read_similarity(run)
        for step in matrices.poster_steps(list(found), steps):
            (matrix,) = found[step]["coefficients"].values()
            history.setdefault(step, {})[name] = matrix
    columns = {f"step {step:,}": history[step] for step in sorted(history)}
    return matrices.save(file, columns, list(runs))


def table(rows: Sequence[Row], score: str, digits: int) -> str:
    """Returns a Markdown table: mean and sample standard deviation of a score over seeds.

    Args:
        rows: with ``network``, ``seed``, ``parameters``, the score and, of shared networks, ``loops``.
        score: name of the score.
        digits: decimal places of it.
    """
    lines = [
        f"| network | parameters | {score.replace('_', ' ')} | seeds | loops at {THRESHOLD}, first seed |"
    ]
    lines.append("|---|---|---|---|---|")
    for name in dict.fromkeys(row["network"] for row in rows):
        own = sorted((row for row in rows if row["network"] == name), key=lambda row: row["seed"])
        scores = [row[score] for row in own]
        found = "; ".join(f"{group} `{loop}`" for group, loop in own[0].get("loops", {}).items()) or "–"
        lines.append(
            f"| {name} | {own[0]['parameters']:,} | {spread(scores, digits)} | {len(own)} | {found} |"
        )
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float], digits: int) -> str:
    """Returns the mean and, of several values, the sample standard deviation; a dash if one is missing."""
    if not values or any(math.isnan(value) for value in values):
        return "–"
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"
