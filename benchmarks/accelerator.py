"""One command for a rented GPU or TPU: checks it, measures it, and trains rows of the poster.

    python -m benchmarks.accelerator --output=runs/accelerator --minutes=30 \\
        --rows swrn-28-10-2-cutout wrn-28-10-cutout --epochs=200

It says what it finds, compares some training steps with the CPU's, times the step in a few settings, chooses
the fastest, and compares it with the unshared network and, if PyTorch is installed, with PyTorch. On the same
machine it measures only once.

Then it trains the rows one after another until the minutes are over; the same command resumes. Rows do not
take turns: a schedule is worth something only at its end, so one finished row is better than two halves.

What is worth keeping lies in OUTPUT/results, a few MB without weights. `softshare report` and
`softshare poster` read its folders on any machine.
"""

import argparse
import importlib.util
import os
import pathlib
import shlex
import signal
import sys
import time
from typing import Any

import jax

from benchmarks.rented import measure, results, smoke
from benchmarks.rented.clock import Clock
from benchmarks.rented.part import Part
from benchmarks.rented.rows import Row, Settings
from benchmarks.rented.training import FAILED, Training
from softshare_jax import durable, paths
from softshare_jax.data import cifar
from softshare_jax.errors import cannot_write
from softshare_jax.runs.stopping import stop_on_signal
from softshare_jax.shell import cli

ROWS, EPOCHS, MINUTES = ("swrn-28-10-2-cutout", "wrn-28-10-cutout"), 200, 30.0


def main() -> None:
    """Measures and trains; the exit code is 1 if a row fails, and that of a signal after one.

    Raises:
        UserError: a row is unknown, or the output or the data cannot be had.
    """
    began, arguments = time.time(), _parse()
    # The accelerator belongs to one process at a time, which is never this one.
    jax.config.update("jax_platforms", "cpu")
    if "cpu" not in (platforms := os.environ.get("JAX_PLATFORMS", "cpu")).split(","):
        os.environ["JAX_PLATFORMS"] = f"{platforms},cpu"  # the check computes on both
    rows = [Row(variant, arguments.epochs, arguments.smoke) for variant in dict.fromkeys(arguments.rows)]
    measured = ([row for row in rows if row.shares] or rows)[0]
    print(f"to train: {', '.join(f'{row.variant} ({row.steps:,} steps)' for row in rows)}", flush=True)
    output, clock = paths.local(arguments.output), Clock(began, 60 * arguments.minutes)
    try:
        durable.make_folder(output / "results")
    except OSError as error:
        raise cannot_write(f"--output {output}", error) from error
    data_dir = arguments.data_dir
    if arguments.smoke:
        os.environ.setdefault("XLA_FLAGS", smoke.COMPILE_FAST)
        data_dir = str(smoke.write_data(output / "data"))
    print("looking for cifar10, or fetching it (170 MB)", flush=True)
    print(f"data: {cifar.prepare('cifar10', data_dir)}", flush=True)
    part = Part(output / "results" / "accelerator.json", measured, arguments.dtype, clock.measured)
    settings = _measure(part, clock)
    _compare_with_torch(part, clock)
    with stop_on_signal() as stop:
        stop.answer(signal.SIGINT)
        ended = _train(rows, part, Training(output, settings, data_dir, clock, stop))
    _say_what_to_carry(output / "results", ended)
    if stop:
        sys.exit(128 + stop.number)
    sys.exit(any(one["outcome"].startswith(FAILED) for one in ended))


def _parse() -> argparse.Namespace:
    """Returns the arguments; a smoke run has other defaults."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default="runs/accelerator", help="folder of the runs and results")
    parser.add_argument("--rows", nargs="+", help="variants of configs/cifar10.py, in the order of training")
    parser.add_argument("--epochs", type=int, help=f"epochs of each row (default: {EPOCHS})")
    parser.add_argument("--minutes", type=float, help=f"time for everything (default: {MINUTES:g})")
    parser.add_argument("--data_dir", default="", help="folder of data sets (default: that of TFDS)")
    parser.add_argument(
        "--dtype", default="auto", choices=("auto", "bfloat16", "float32"), help="precision (default: faster)"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="tiny networks on made-up images, on any machine, in two minutes"
    )
    arguments = parser.parse_args()
    defaults = (smoke.ROWS, smoke.EPOCHS, smoke.MINUTES) if arguments.smoke else (ROWS, EPOCHS, MINUTES)
    for name, default in zip(("rows", "epochs", "minutes"), defaults, strict=True):
        if (given := getattr(arguments, name)) is None:
            setattr(arguments, name, default)
        elif name != "rows" and given <= 0:
            parser.error(f"--{name} is {given}; it must be positive")
    return arguments


def _measure(part: Part, clock: Clock) -> Settings:
    """Finds, checks and measures in another process, and returns the settings to train with.

    Ends the command with the code of that process if the accelerator was not found or failed the check.
    """
    code = part.run("probe", clock.cut - time.time())
    notes = part.read()
    current = part.notes.exists() and part.notes.stat().st_mtime >= clock.began
    if code and not (current and notes.get("check", {}).get("passed")):
        sys.exit(code)  # the process has said why
    if "chosen" in notes:
        return Settings.of(notes["chosen"])
    # The measurement was cut off, perhaps after some results.
    done = notes.get("measured", [])
    fastest = max(done, key=lambda one: one["images_per_second"], default=None)
    settings = Settings.of(fastest) if fastest else measure.usual(notes["found"]["platform"], part.dtype)
    print(f"the measurement did not end; training with {settings}", flush=True)
    return settings


def _compare_with_torch(part: Part, clock: Clock) -> None:
    """Compares with a PyTorch twin in another process; whatever prevents it is a line."""
    notes = part.read()
    if "twin" in notes:
        return
    if importlib.util.find_spec("torch") is None:
        print("no comparison with PyTorch, which is not installed (pip install '.[parity]')", flush=True)
    elif notes["found"]["platform"] == "tpu":
        print("no comparison with PyTorch, which does not see the TPU", flush=True)
    elif "chosen" not in notes or time.time() > clock.measured:
        print("no comparison with PyTorch, for lack of time", flush=True)
    else:
        print(f"comparing with PyTorch: {part.row.model}", flush=True)
        # PyTorch needs memory beside jax, which would take most of a GPU at once.
        part.run("twin", clock.cut - time.time(), XLA_PYTHON_CLIENT_PREALLOCATE="false")


def _train(rows: list[Row], part: Part, training: Training) -> list[dict[str, Any]]:
    """Trains the rows one after another, and writes the results of each; returns how they ended."""
    ended = []
    for row in rows:
        workdir = row.workdir(training.output)
        if row.steps in (saved := workdir.saved_steps()):
            said = "finished"
        elif training.stop or not training.clock.starts:
            said = "stopped" if saved else "not started"
        else:
            left = f"{training.clock.left / 60:.1f} min are left"
            print(f"training {row.name}: {left}{_estimate(row, part)}", flush=True)
            said = training.train(row)
        ended.append(results.outcome(row, workdir, said))
        results.carry(workdir, part.notes.parent / row.name)
        notes = part.read()
        notes["rows"] = ended
    return ended


def _estimate(row: Row, part: Part) -> str:
    """Returns how long the whole row takes at the measured speed; empty if it was not measured."""
    notes = part.read()
    if "chosen" not in notes:
        return ""
    wanted = (row.model, Settings.of(notes["chosen"]))
    seconds = [m["step_seconds"] for m in notes["measured"] if (m["network"], Settings.of(m)) == wanted]
    return f", of {row.steps * seconds[0] / 60:.0f} min for all its steps" if seconds else ""


def _say_what_to_carry(folder: pathlib.Path, ended: list[dict[str, Any]]) -> None:
    """Prints the outcomes, and the commands that read the results."""
    for one in ended:
        print(results.line(one))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"results without weights, {size / 1e6:.1f} MB: {folder}")
    begun = [one for one in ended if one["step"]]
    scored = [one for one in begun if one["error"] is not None]
    for command, runs in (("report", begun), ("poster --output=poster.md", scored)):
        workdirs = shlex.join(f"--workdir={folder / one['folder']}" for one in runs)
        print(f"  softshare {command} {workdirs}" if runs else f"  nothing for {command.split()[0]} yet")


if __name__ == "__main__":
    cli.run(main)
