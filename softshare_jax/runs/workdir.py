"""The folder of a run: what lies where, and whose it is."""

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import socket
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from softshare_jax import config as config_lib
from softshare_jax import durable, json_text, paths
from softshare_jax.errors import UserError, cannot_write
from softshare_jax.sharing import Plan, PlanError
from softshare_jax.storage import sealed_json, versions

# Of files that a run may begin beside: what a shell or a scheduler writes of its output, and files that
# ``write_whole`` did not finish.
OUTPUT_SUFFIXES = (".log", ".out", ".err", ".partial")


class Workdir:
    """Paths and small files of a workdir. Files appear whole or not at all, and on disk."""

    def __init__(self, root: str | os.PathLike):
        """Names the paths; nothing is read or made yet.

        Raises:
            UserError: the folder cannot be a workdir: it is a URL, or its path is not UTF-8.
        """
        self.root = paths.local(root)
        if (shown := paths.printable(str(self.root))) != str(self.root):
            raise UserError(f"{shown} is not UTF-8, as a workdir must be for its checkpoints: rename it")
        self.lock_file = self.root / ".lock"
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
            values = json_text.parse(self.config_file.read_bytes())
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
            durable.make_folder(self.root)
            with tempfile.NamedTemporaryFile(dir=self.root, prefix=".writable."):
                pass
        except OSError as error:
            raise cannot_write(f"workdir {self.root}", error) from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the workdir for one writer; the system lets go when the process ends.

        Raises:
            UserError: another process holds it. The message says which, if that process has signed.
        """
        with open(self.lock_file, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another process is writing to {self.root}{self._holder()}") from None
            yield

    def sign_lock(self) -> None:
        """Writes into the lock file which process holds the workdir and since when."""
        now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": now}
        self.lock_file.write_text(json.dumps(holder))

    def _holder(self) -> str:
        """Returns the process that signed the lock, for a message; empty if it is gone or has not signed."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, OverflowError):
            holder = json_text.parse(self.lock_file.read_bytes())
            if holder["host"] == socket.gethostname():
                os.kill(holder["pid"], 0)  # the signature of a killed process stays
            return f": process {holder['pid']} on {holder['host']}, since {holder['since']}"
        return ""

    def read_config(self) -> config_lib.Config:
        """Returns the run's config.

        Raises:
            UserError: the folder is missing, holds no run, or the config is not one or of a newer version.
        """
        if not self.root.is_dir():
            raise UserError(f"workdir {self.root} does not exist")
        if not self.config_file.exists():
            raise UserError(f"workdir {self.root} holds no run: config.json is missing")
        values = versions.migrate(self.read_json(self.config_file), str(self.config_file))
        try:
            return config_lib.from_stored(values)
        except RecursionError:  # a message that shows a value of a thousand brackets
            raise UserError(f"{self.config_file} is not a config: it is nested too deeply") from None

    def read_plan(self) -> Plan:
        """Returns the run's plan.

        Raises:
            UserError: it is missing or not a plan.
        """
        try:
            return Plan.from_json(self.plan_file.read_bytes().decode())
        except FileNotFoundError:
            raise UserError(f"workdir {self.root} is not complete: plan.json is missing") from None
        except (PlanError, UnicodeDecodeError) as error:
            raise UserError(f"{self.plan_file}: {error}") from error

    def write_run(self, config: config_lib.Config, plan: Plan) -> None:
        """Writes config and plan."""
        values = {**json.loads(plan.to_json()), "written_by": versions.stamp()}
        self.write(self.plan_file, json.dumps(values, indent=1))
        self.write(self.config_file, json.dumps(versions.stamped(config.to_dict()), indent=1))

    def sync(self) -> None:
        """Flushes the files that a resumed run needs besides its checkpoint.

        Raises:
            OSError: something is missing, or the disk reports an error.
        """
        for file in (self.config_file, self.plan_file, self.metrics_file):
            durable.fsync_file(file)

    def read_json(self, file: pathlib.Path) -> Any:
        """Returns what a JSON file of the workdir holds.

        Raises:
            UserError: it is not JSON.
        """
        try:
            return json_text.parse(file.read_bytes())
        except ValueError as error:
            raise UserError(f"{file} is not JSON: {error}") from error

    def write(self, file: pathlib.Path, text: str) -> None:
        """Writes a text file: its old content or its new one is on disk, never a part."""
        # The report quotes paths of data, and those may be any bytes.
        durable.write(file, text.encode(errors="backslashreplace"))

    def write_sealed(self, file: pathlib.Path, values: Mapping[str, Any]) -> None:
        """Writes a JSON file that carries its own checksum and the versions that wrote it."""
        self.write(file, json.dumps(sealed_json.seal(versions.stamped(values)), indent=1))

    def read_sealed(self, file: pathlib.Path) -> dict[str, Any]:
        """Returns what was written by ``write_sealed``, or by an earlier version without a seal.

        Raises:
            UserError: it is not JSON, or its seal does not match.
        """
        values = self.read_json(file)
        try:
            if not isinstance(values, dict) or values.keys() & {sealed_json.SEAL, versions.VERSION}:
                values = sealed_json.unseal(values)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{file} is damaged or was changed: {error}") from error
        return versions.migrate(values, str(file))
