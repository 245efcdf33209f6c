"""The folder of a run: what lies where, and whose it is."""

import contextlib
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from softshare_jax.errors import UserError, cannot_write
from softshare_jax.sharing import Plan, PlanError
from softshare_jax.training import config as config_lib

# Of files that a run may begin beside: what a shell or a scheduler writes of its output, and files that
# ``write_whole`` did not finish.
OUTPUT_SUFFIXES = (".log", ".out", ".err", ".partial")


class Workdir:
    """Paths and small files of a workdir. Files appear whole or not at all."""

    def __init__(self, root: str | os.PathLike):
        """Names the folder, which need not exist.

        Raises:
            UserError: libraries cannot open it by that name.
        """
        self.root = pathlib.Path(root).expanduser().absolute()
        try:
            str(self.root).encode()
        except UnicodeEncodeError:
            raise UserError(
                f"workdir {self.root} has a name that is not UTF-8: take another, or set PYTHONUTF8=1"
            ) from None
        self.config_file = self.root / "config.json"
        self.plan_file = self.root / "plan.json"
        self.metrics_file = self.root / "metrics.jsonl"
        self.devices_file = self.root / "devices.jsonl"
        self.certificate_file = self.root / "certificate.json"
        self.conversion_file = self.root / "conversion.json"
        self.report_file = self.root / "report.html"
        self.checkpoints = self.root / "checkpoints"
        self.damaged = self.root / "damaged"
        self.similarity = self.root / "similarity"
        self.figures = self.root / "figures"
        self.tensorboard = self.root / "tensorboard"
        self.profile = self.root / "profile"

    def holds_run(self) -> bool:
        """Returns whether this is the folder of a run, of which much may be missing."""
        if any(path.exists() for path in (self.plan_file, self.metrics_file, self.checkpoints)):
            return True
        # Other programs write a config.json, too.
        try:
            values = json.loads(self.config_file.read_text())
        except (OSError, ValueError):
            return False
        return isinstance(values, dict) and "sharing" in values

    def strangers(self) -> list[str]:
        """Returns the names of what lies in the folder and is not of a run, sorted.

        Hidden files, the output of a command that writes here, and what a start that was cut off leaves
        behind are none.
        """
        own = {self.plan_file.name, "lost+found"}
        names = [path.name for path in self.root.iterdir()] if self.root.is_dir() else []
        return sorted(
            name
            for name in names
            if name not in own and not name.startswith(".") and not name.endswith(OUTPUT_SUFFIXES)
        )

    def saved_steps(self) -> list[int]:
        """Returns the steps that there are checkpoints of, whole or damaged."""
        found = self.checkpoints.iterdir() if self.checkpoints.is_dir() else ()
        return [int(path.name) for path in found if path.name.isdecimal()]

    def create(self) -> None:
        """Makes the folder and shows that it can be written.

        Raises:
            UserError: it cannot.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.write(self.root / ".writable", "")
            (self.root / ".writable").unlink()
        except OSError as error:
            raise cannot_write(f"workdir {self.root}", error) from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the workdir for one writer; the system lets go when the process ends.

        Raises:
            UserError: another process holds it.
        """
        with open(self.root / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another process is writing to {self.root}") from None
            yield

    def read_config(self) -> config_lib.Config:
        """Returns the run's config.

        Raises:
            UserError: the folder is missing, holds no run, or the config is not one.
        """
        if not self.root.is_dir():
            raise UserError(f"workdir {self.root} does not exist")
        if not self.config_file.exists():
            raise UserError(f"workdir {self.root} holds no run: config.json is missing")
        return config_lib.from_stored(self.read_json(self.config_file))

    def read_plan(self) -> Plan:
        """Returns the run's plan.

        Raises:
            UserError: it is missing or not a plan.
        """
        try:
            return Plan.from_json(self.plan_file.read_text())
        except FileNotFoundError:
            raise UserError(f"workdir {self.root} is not complete: plan.json is missing") from None
        except PlanError as error:
            raise UserError(f"{self.plan_file}: {error}") from error

    def write_run(self, config: config_lib.Config, plan: Plan) -> None:
        """Writes config and plan."""
        self.write(self.plan_file, plan.to_json())
        self.write(self.config_file, json.dumps(config.to_dict(), indent=1))

    def read_json(self, file: pathlib.Path) -> Any:
        """Returns what a JSON file of the workdir holds.

        Raises:
            UserError: it is not JSON.
        """
        try:
            return json.loads(file.read_text())
        except ValueError as error:
            raise UserError(f"{file} is not JSON: {error}") from error

    def write(self, file: pathlib.Path, text: str) -> None:
        """Writes a text file: its old content or its new one is on disk, never a part."""
        write_whole(file, text.encode())


def write_whole(file: pathlib.Path, content: bytes) -> None:
    """Writes a file: its old content or its new one is on disk, never a part, and nothing beside it."""
    partial = file.with_name(file.name + ".partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, file)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
