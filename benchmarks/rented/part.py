"""What the processes that use the accelerator are told, and how they are started."""

import argparse
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple, Self

from benchmarks.rented.notes import Notes
from benchmarks.rented.rows import Row


class Part(NamedTuple):
    """What a part is told.

    Attributes:
        notes: the file of the notes.
        row: whose training is measured.
        dtype: precision of the computation, or ``"auto"``.
        until: time (``time.time()``) after which it begins nothing else.
    """

    notes: pathlib.Path
    row: Row
    dtype: str
    until: float

    @classmethod
    def parse(cls, doc: str | None) -> Self:
        """Reads the command line that ``run`` writes."""
        parser = argparse.ArgumentParser(description=doc)
        parser.add_argument("--notes", type=pathlib.Path, required=True)
        parser.add_argument("--row", required=True)
        parser.add_argument("--epochs", type=int, required=True)
        parser.add_argument("--smoke", action="store_true")
        parser.add_argument("--dtype", required=True)
        parser.add_argument("--until", type=float, required=True)
        found = parser.parse_args()
        return cls(found.notes, Row(found.row, found.epochs, found.smoke), found.dtype, found.until)

    def run(self, module: str, seconds: float, **variables: str) -> int:
        """Runs a module of this package with these arguments, and returns its exit code.

        Args:
            module: its name.
            seconds: it is killed after so many.
            variables: environment variables that are missing.
        """
        arguments = [
            *("--notes", str(self.notes), "--row", self.row.variant, "--epochs", str(self.row.epochs)),
            *("--dtype", self.dtype, "--until", str(self.until), *(["--smoke"] if self.row.smoke else [])),
        ]
        command = [sys.executable, "-m", f"benchmarks.rented.{module}", *arguments]
        try:
            code = subprocess.run(command, env={**variables, **os.environ}, timeout=seconds).returncode
        except subprocess.TimeoutExpired:
            print(f"{module} took too long and was killed", flush=True)
            return 1
        if code < 0:  # a crash, which says nothing
            print(f"{module} ended by signal {-code}", flush=True)
        return code

    def read(self) -> Notes:
        """Returns the notes as they are now."""
        return Notes(self.notes)
