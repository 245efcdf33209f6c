"""The folder of a run: its files and its lock."""

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

# Suffixes of files that a new run's folder may hold: output of a shell or a scheduler, and unfinished
# files of ``durable.write``.
OUTPUT_SUFFIXES = (".log", ".out", ".err", ".partial")


class Workdir:
    """Paths and small files of a workdir. Writes are atomic and flushed to disk."""

    def __init__(self, root: str | os.PathLike):
        """Sets the paths; nothing is read or created yet.

        Raises:
            UserError: the folder cannot be a workdir: it is a URL, or its path is not UTF-8.
        """
        self.root = paths.local(root)
        if (shown := paths.printable(str(self.root))) != str(self.root):
            raise UserError(f"workdir {shown} is not UTF-8, which checkpoints need; rename it")
        self.lock_file = self.root / ".lock"
        self.config_file = self.root / "config.json"
        self.plan_file = self.root / "plan.json"
        self.metrics_file = self.root / "metrics.jsonl"
        self.devices_file = self.root / "devices.jsonl"
        self.data_file = self.root / "data.json"
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
        """Returns whether this is the folder of a run, even an incomplete one."""
        if any(path.exists() for path in (self.plan_file, self.metrics_file, self.checkpoints)):
            return True
        # Other programs also write a config.json.
        try:
            values = json_text.parse(self.config_file.read_bytes())
        except (OSError, ValueError):
            return False
        return isinstance(values, dict) and "sharing" in values

    def strangers(self) -> list[str]:
        """Returns the names of files that do not belong to a run, sorted.

        Hidden files, command output and leftovers of an interrupted start do not count.
        """
        own = {self.plan_file.name, "lost+found"}
        names = [path.name for path in self.root.iterdir()] if self.root.is_dir() else []
        return sorted(
            name
            for name in names
            if name not in own and not name.startswith(".") and not name.endswith(OUTPUT_SUFFIXES)
        )

    def saved_steps(self) -> list[int]:
        """Returns the steps that have a checkpoint, damaged or not."""
        found = self.checkpoints.iterdir() if self.checkpoints.is_dir() else ()
        return [int(path.name) for path in found if path.name.isdecimal()]

    def create(self) -> None:
        """Creates the folder and checks that it is writable.

        Raises:
            UserError: it is not.
        """
        try:
            durable.make_folder(self.root)
            with tempfile.NamedTemporaryFile(dir=self.root, prefix=".writable."):
                pass
        except OSError as error:
            raise cannot_write(f"workdir {self.root}", error) from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Locks the workdir for one writer; the system releases the lock when the process ends.

        Raises:
            UserError: another process holds it. The message names the process if it signed the lock.
        """
        with open(self.lock_file, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another process is writing to {self.root}{self._holder()}") from None
            yield

    def sign_lock(self) -> None:
        """Writes this process and the time into the lock file."""
        now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": now}
        self.lock_file.write_text(json.dumps(holder))

    def _holder(self) -> str:
        """Returns the process that signed the lock, for a message; empty if unknown or no longer running."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, OverflowError):
            holder = json_text.parse(self.lock_file.read_bytes())
            if holder["host"] == socket.gethostname():
                os.kill(holder["pid"], 0)  # a killed process leaves its signature
            return f": process {holder['pid']} on {holder['host']}, since {holder['since']}"
        return ""

    def read_config(self) -> config_lib.Config:
        """Returns the run's config.

        Raises:
            UserError: the folder is missing or holds no run, or the config is invalid or of a newer version.
        """
        if not self.root.is_dir():
            raise UserError(f"workdir {self.root} does not exist")
        if not self.config_file.exists():
            raise UserError(f"workdir {self.root} holds no run: config.json is missing")
        values = versions.migrate(self.read_json(self.config_file), str(self.config_file))
        try:
            return config_lib.from_stored(values)
        except RecursionError:  # while a message formats a deeply nested value
            raise UserError(f"{self.config_file} is not a config: it is nested too deeply") from None

    def read_plan(self) -> Plan:
        """Returns the run's plan.

        Raises:
            UserError: it is missing or invalid.
        """
        try:
            return Plan.from_json(self.plan_file.read_bytes().decode())
        except FileNotFoundError:
            raise UserError(f"workdir {self.root} is incomplete: plan.json is missing") from None
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
            OSError: a file is missing, or the disk reports an error.
        """
        for file in (self.config_file, self.plan_file, self.metrics_file):
            durable.fsync_file(file)

    def read_json(self, file: pathlib.Path) -> Any:
        """Returns the content of a JSON file of the workdir.

        Raises:
            UserError: it is not JSON.
        """
        try:
            return json_text.parse(file.read_bytes())
        except ValueError as error:
            raise UserError(f"{file} is not JSON: {error}") from error

    def write(self, file: pathlib.Path, text: str) -> None:
        """Writes a text file atomically: a crash leaves either the old or the new content."""
        # The report quotes data paths, which may contain any bytes.
        durable.write(file, text.encode(errors="backslashreplace"))

    def write_sealed(self, file: pathlib.Path, values: Mapping[str, Any]) -> None:
        """Writes a JSON file with its checksum and the versions that wrote it."""
        self.write(file, json.dumps(sealed_json.seal(versions.stamped(values)), indent=1))

    def read_sealed(self, file: pathlib.Path) -> dict[str, Any]:
        """Returns the content that ``write_sealed``, or an earlier version without a seal, wrote.

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
