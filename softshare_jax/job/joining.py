"""Joins the processes of a job."""

import contextlib
import functools
import os
import re
import socket
import threading
import warnings
from collections.abc import Iterator

import jax
from absl import flags

from softshare_jax.errors import RunError, UserError, one_line
from softshare_jax.job import cluster
from softshare_jax.job.listening import bind_address
from softshare_jax.shell import devices, ending
from softshare_jax.shell.ending import FAREWELL_SECONDS

# Slurm and Open MPI start all processes at once; elsewhere machines may come up one by one.
AT_ONCE_SECONDS, ONE_BY_ONE_SECONDS = 60, 300
# Coordinator address, number of processes and index of this process, as given by the flags.
Given = tuple[str | None, int | None, int | None]


def join(
    coordinator_address: str | None,
    num_processes: int | None,
    process_id: int | None,
    heartbeat: int,
    patience: int | None = None,
) -> None:
    """Joins the other processes of the job, if any. Call it before anything is computed.

    jax detects the job on TPU slices and under Slurm, Open MPI and Kubernetes. If nothing indicates a
    cluster, this process is the only one.

    Args:
        coordinator_address: host and port of process 0; ``None`` to detect it.
        num_processes: number of processes; ``None`` to detect it. 1 without an address detects nothing.
        process_id: index of this process; ``None`` to detect it.
        heartbeat: seconds after which a silent process counts as dead, which ends all others.
        patience: seconds to wait for the other processes; ``None`` for the cluster's default. After that,
            the process ends with one line.

    Raises:
        UserError: an argument is invalid, or the missing ones cannot be detected; the environment describes
            an invalid job; or the chosen platform has no devices here.
        RunError: a job was detected and cannot be joined.
    """
    given = (coordinator_address, num_processes, process_id)
    if coordinator_address is not None:
        match = re.fullmatch(r".+:(\d{1,5})", coordinator_address)
        if match is None or not 0 < int(match[1]) < 2**16:
            raise UserError(f"--coordinator_address is {coordinator_address!r}; it must be HOST:PORT")
        if process_id == 0:
            _check_port(int(match[1]))
    if given not in ((None, 1, None), (None, 1, 0)):
        job = cluster.detect(os.environ) if given == (None, None, None) else None
        if job is None or job.processes > 1:
            _initialize(given, job, heartbeat, patience)
    devices.check()
    if jax.process_count() > 1:
        # By default Orbax synchronizes with collectives; if one process fails, the others wait forever.
        flags.FLAGS["experimental_orbax_use_distributed_barrier"].value = True


def _initialize(given: Given, job: cluster.Job | None, heartbeat: int, patience: int | None) -> None:
    seconds = patience or (AT_ONCE_SECONDS if job else ONE_BY_ONE_SECONDS)
    address, number, index = given
    try:
        with _patience(seconds, job), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in Kubernetes pods jax recommends packages
            jax.distributed.initialize(
                address,
                job.processes if job else number,
                index,
                coordinator_bind_address=_bind_address(address),
                # jax crashes at its own timeout, so _patience has to end first.
                initialization_timeout=seconds + 2 * FAREWELL_SECONDS,
                heartbeat_timeout_seconds=heartbeat,
                shutdown_timeout_seconds=heartbeat,
            )
    except ValueError as error:
        # jax offers no query; initialize() raises ValueError when it detects no cluster.
        detecting = given == (None, None, None)
        if detecting and str(error).startswith("coordinator_address"):
            return
        if detecting:
            raise UserError(
                f"jax cannot join the job that it detects: {one_line(error)}; {cluster.ALONE}"
            ) from error
        raise UserError(
            "the job cannot be detected; give --coordinator_address, --num_processes and --process_id: "
            f"{one_line(error)}"
        ) from error
    except (RuntimeError, LookupError) as error:
        source = f"job of {job.source}" if job else "job"
        raise RunError(
            f"this process cannot join the {source} ({one_line(error, 120)}); {cluster.ALONE}"
        ) from error


def _bind_address(address: str | None) -> str | None:
    """Returns the address that process 0 listens on; ``None`` leaves it to jax and its variable."""
    if address is None or "JAX_COORDINATOR_BIND_ADDRESS" in os.environ:
        return None
    return bind_address(address)


def _check_port(port: int) -> None:
    """Checks that process 0 can listen. If the port is in use, jax crashes or joins another job."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise RunError(
                f"port {port} of --coordinator_address is unavailable: {error.strerror}"
            ) from error


@contextlib.contextmanager
def _patience(seconds: int, job: cluster.Job | None) -> Iterator[None]:
    """Ends the process with one line if a block, which waits for the others, takes too long."""
    who = f"all {job.processes} processes of {job.source}" if job else "all processes of the job"
    # Starting in a shell inside a job is the user's mistake; a machine that does not start is not.
    code = UserError.exit_code if job else RunError.exit_code
    line = f"error: not {who} started within {seconds} s; {cluster.ALONE}"
    timers = [threading.Timer(seconds, ending.end, (line, code))]
    if seconds > AT_ONCE_SECONDS:
        said = f"waiting for {who}, at most {seconds} s; {cluster.ALONE}"
        timers.append(threading.Timer(AT_ONCE_SECONDS, functools.partial(print, said, flush=True)))
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
