"""The shipped configs, shrunk: as a config, and as flags for the real entry point."""

import os
import pathlib
import runpy
import subprocess
import sys
from typing import Any

from softshare_jax.training import config as config_lib

REPO = pathlib.Path(__file__).parents[1]

SHRINK: dict[str, Any] = {
    "model": "scnn-4-6",
    "data.side": 8,
    "data.windows": (3, 5),
    "data.phase": "8 steps",
    "data.train_examples": 48,
    "data.test_examples": 20,
    "batch_size": 8,
    "duration": "16 steps",
    "log_every": "4 steps",
    "evaluate_every": "4 steps",
    "checkpoint_every": "4 steps",
}


def config(file: str = "quickstart", variant: tuple[str, ...] = (), **changes: Any) -> config_lib.Config:
    """Returns a shipped config with the fields of SHRINK; changes name fields with ``__`` for dots."""
    values = runpy.run_path(str(REPO / "configs" / f"{file}.py"))["get_config"](*variant)
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    values.update_from_flattened_dict({**SHRINK, **changes})
    return config_lib.from_dict(values.to_dict())


def flags(**changes: Any) -> list[str]:
    """Returns SHRINK and changes as flags of ``softshare_jax.main``."""
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    return [f"--config.{name}={value}" for name, value in {**SHRINK, **changes}.items()]


def start(command: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts ``python -m softshare_jax.COMMAND`` as a person would, without the tests' fake devices."""
    return subprocess.Popen(
        [sys.executable, "-m", f"softshare_jax.{command}", *map(str, arguments)],
        cwd=REPO,
        env={name: value for name, value in os.environ.items() if name != "XLA_FLAGS"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    process = start(command, *arguments)
    try:
        out, err = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
