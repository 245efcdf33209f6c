"""The shipped configs, shrunk: as a config, and as flags for the real entry point."""

import os
import pathlib
import runpy
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from softshare_jax import config as config_lib
from tests import COMPILE_FAST

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


# For CIFAR configs with the fake data of tests/cifar.py. The variant sets the model and its dropout.
SHRINK_CIFAR: dict[str, Any] = {
    "data.train_examples": 16,
    "data.validation_examples": 4,
    "batch_size": 4,
    "duration": "6 steps",
    "log_every": "2 steps",
    "evaluate_every": "3 steps",
    "checkpoint_every": "3 steps",
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


def cifar_flags(data_dir: os.PathLike, **changes: Any) -> list[str]:
    """Returns SHRINK_CIFAR, a folder of data sets and changes as flags of ``softshare_jax.main``."""
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    values = {**SHRINK_CIFAR, "data_dir": data_dir, **changes}
    return [f"--config.{name}={value}" for name, value in values.items()]


def environment(**variables: str) -> dict[str, str]:
    """Returns a user's environment of a command, without the tests' fake devices."""
    return {**os.environ, "PYTHONPATH": str(REPO), "XLA_FLAGS": COMPILE_FAST, **variables}


def start(
    command: str, *arguments: object, env: Mapping[str, str] | None = None, cwd: os.PathLike = REPO
) -> subprocess.Popen[str]:
    """Starts ``python -m softshare_jax.COMMAND`` as a user would, without the tests' fake devices.

    Args:
        command: module of the command.
        arguments: its arguments.
        env: additional environment variables.
        cwd: its working directory.
    """
    return subprocess.Popen(
        [sys.executable, "-m", f"softshare_jax.{command}", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "XLA_FLAGS": COMPILE_FAST, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    command: str, *arguments: object, env: Mapping[str, str] | None = None, cwd: os.PathLike = REPO
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; arguments are those of ``start``."""
    process = start(command, *arguments, env=env, cwd=cwd)
    try:
        out, err = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
