"""Runs a job of several processes on this machine, as a small cluster would.

    python launch/local.py --processes=2 --devices=2 -- --config=quickstart --workdir=runs/two

Arguments after ``--`` go to ``softshare train``. If a process fails, the launcher ends the others within
``--grace`` seconds. With ``--restarts``, the job then starts again and resumes from its last checkpoint.
SIGTERM and Ctrl-C reach all processes, which save and stop; the job does not start again. The exit code is
that of the first process that failed: 143 after SIGTERM, 130 after Ctrl-C.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

POLL_SECONDS = 0.1


def main() -> int:
    """Runs the job until it is done or no restarts are left; returns its exit code."""
    arguments = _parse(sys.argv[1:])
    job = Job(arguments.processes, arguments.devices, arguments.command)
    for restarts_left in range(arguments.restarts, -1, -1):
        code = job.run(arguments.grace)
        # 2 is a user error, which would occur again.
        if code in (0, 2) or job.stopped_by or not restarts_left:
            return code
        print(f"launch: the job ended with code {code}; starting it again", flush=True)
    return code


class Job:
    """A job and its processes.

    Attributes:
        stopped_by: the signal to stop that the launcher has received; 0 for none.
    """

    def __init__(self, processes: int, devices: int, command: Sequence[str]):
        """Takes over the signals of this process; nothing is started yet.

        Args:
            processes: number of processes.
            devices: fake CPU devices of each process; 0 for the real devices.
            command: arguments of ``softshare train``.
        """
        self.stopped_by = 0
        self._number, self._devices, self._command = processes, devices, command
        self._processes: list[subprocess.Popen[str]] = []
        # Before any process starts, so that a signal never leaves one running.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def run(self, grace: float) -> int:
        """Starts all processes and waits until they end.

        Returns:
            0, or the exit code of the first process that failed.
        """
        self._start()
        if not self._processes:
            return 128 + self.stopped_by
        readers = [
            threading.Thread(target=_copy, args=(index, process))
            for index, process in enumerate(self._processes)
        ]
        for reader in readers:
            reader.start()
        code = self._wait(grace)
        for reader in readers:
            reader.join()
        return code

    def _start(self) -> None:
        coordinator = f"127.0.0.1:{_free_port()}"
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if self._devices:
            environment["JAX_PLATFORMS"] = "cpu"
            flags = (
                f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={self._devices}"
            )
            environment["XLA_FLAGS"] = flags.strip()
            # Fake devices share few cores; concurrent programs could wait for each other's threads forever.
            environment["JAX_CPU_ENABLE_ASYNC_DISPATCH"] = "false"
        self._processes = []
        for index in range(self._number):
            if self.stopped_by:
                break
            self._processes.append(
                subprocess.Popen(
                    [
                        *(sys.executable, "-m", "softshare_jax.main", *self._command),
                        f"--coordinator_address={coordinator}",
                        f"--num_processes={self._number}",
                        f"--process_id={index}",
                    ],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    # Otherwise Ctrl-C would reach them twice: from the terminal and from this launcher.
                    start_new_session=True,
                )
            )
        if self.stopped_by:
            # The signal came before the last of them was in the list.
            self._pass_on(self.stopped_by)

    def _wait(self, grace: float) -> int:
        while True:
            codes = [process.poll() for process in self._processes]
            failed = next((index for index, code in enumerate(codes) if code), None)
            if failed is not None:
                return self._end(failed, grace)
            if None not in codes:
                return 0
            time.sleep(POLL_SECONDS)

    def _end(self, failed: int, grace: float) -> int:
        """Ends the other processes after one failed, because they would wait for it."""
        code = self._processes[failed].returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        print(f"launch: process {failed} {how}; ending the others within {grace:g} s", flush=True)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and any(process.poll() is None for process in self._processes):
            time.sleep(POLL_SECONDS)
        for process in self._processes:
            process.kill()
            process.wait()
        return 128 - code if code < 0 else code

    def _stop(self, number: int, frame: object) -> None:
        del frame
        self.stopped_by = number
        self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        for process in self._processes:
            process.send_signal(number)


def _copy(index: int, process: subprocess.Popen[str]) -> None:
    """Prints the output of a process, line by line."""
    assert process.stdout is not None
    for line in process.stdout:
        print(f"[{index}] {line}", end="", flush=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=2, help="number of processes (2)")
    parser.add_argument("--devices", type=int, default=0, help="fake CPU devices per process (0: real ones)")
    parser.add_argument("--restarts", type=int, default=0, help="restarts allowed after a failure (0)")
    parser.add_argument("--grace", type=float, default=10.0, help="seconds to end after a failure (10)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the flags of softshare train")
    arguments = parser.parse_args(argv)
    if arguments.command[:1] == ["--"]:
        del arguments.command[0]
    if arguments.processes < 1 or arguments.devices < 0 or arguments.restarts < 0 or arguments.grace < 0:
        parser.error("--processes must be at least 1, and the other numbers at least 0")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
