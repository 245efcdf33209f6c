"""Trains a row by the real command, until it is finished or the time is over."""

import pathlib
import signal
import subprocess
import sys
import time
from typing import NamedTuple

from benchmarks.rented.clock import Clock
from benchmarks.rented.rows import Row, Settings
from softshare_jax.runs.stopping import StopRequest

# How often the wait for a run looks at the clock.
TURN_SECONDS = 0.2
# Exit codes of a run that was stopped: after its checkpoint, or before it could take a step.
STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM)
# How the outcome of a row that failed begins.
FAILED = "failed"


class Training(NamedTuple):
    """How rows are trained.

    Attributes:
        output: folder of the runs.
        settings: how to compute; a resumed run keeps its own precision.
        data_dir: folder of the data sets; empty for the default.
        clock: when the time is over.
        stop: a request to stop.
    """

    output: pathlib.Path
    settings: Settings
    data_dir: str
    clock: Clock
    stop: StopRequest

    def train(self, row: Row) -> str:
        """Starts or resumes the run of a row.

        When the time is over, or on a request to stop, it sends SIGTERM: the run saves a checkpoint and ends.
        A run that takes too long to do so is killed, and resumes from the checkpoint before.

        Returns:
            ``'finished'``, ``'stopped'``, or how it ``FAILED``.
        """
        command = [sys.executable, "-m", "softshare_jax.main", *self._arguments(row)]
        # In a session of its own, Ctrl-C reaches this process only, which asks the run to stop once.
        process = subprocess.Popen(command, start_new_session=True)
        try:
            while process.poll() is None and self.clock.left > 0 and not self.stop:
                time.sleep(TURN_SECONDS)
            if process.poll() is None:
                print(f"stopping {row.name}: it saves a checkpoint", flush=True)
                process.terminate()
            code = process.wait(self.clock.saving)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            print(f"{row.name} did not stop in time and was killed: its last checkpoint stays", flush=True)
            return "stopped"
        if code in STOPPED:
            return "stopped"
        return "finished" if code == 0 else f"{FAILED} with exit code {code}"

    def _arguments(self, row: Row) -> list[str]:
        workdir, fields = row.workdir(self.output), row.computed(self.settings)
        if self.data_dir:
            fields["data_dir"] = self.data_dir
        arguments = [f"--workdir={workdir.root}"]
        if workdir.config_file.exists():
            del fields["dtype"]  # what is computed cannot change
        else:
            fields |= row.trained()
            arguments.append(f"--config=cifar10:{row.variant}")
        return [*arguments, *(f"--config.{name}={value}" for name, value in fields.items())]
