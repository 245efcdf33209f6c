"""How the processes of a job find each other."""

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
# Address, number and place that the flags give.
Given = tuple[str | None, int | None, int | None]


def join(
    coordinator_address: str | None,
    num_processes: int | None,
    process_id: int | None,
    heartbeat: int,
    patience: int | None = None,
) -> None:
    """Joins the job's other processes, where there are any; before anything is computed.

    On TPU slices, Slurm, Open MPI and Kubernetes jobs jax finds out by itself; where nothing points to a
    cluster this process is the only one.

    Args:
        coordinator_address: host and port of process 0; ``None`` to detect it, as the next two.
        num_processes: of the job; 1 alone detects nothing.
        process_id: of this process.
        heartbeat: seconds after which a silent process counts as dead, which ends all others.
        patience: seconds to wait for the others; ``None`` for the default of the cluster at hand. When they
            are over, the process ends with one line.

    Raises:
        UserError: some of the three are wrong, or are given and the others cannot be detected; the
            environment tells of a job that cannot be; or the chosen platform has no devices here.
        RunError: a job was detected and cannot be joined.
    """
    given = (coordinator_address, num_processes, process_id)
    if coordinator_address is not None:
        match = re.fullmatch(r".+:(\d{1,5})", coordinator_address)
        if match is None or not 0 < int(match[1]) < 2**16:
            raise UserError(f"--coordinator_address is HOST:PORT, not {coordinator_address!r}")
        if process_id == 0:
            _check_port(int(match[1]))
    if given not in ((None, 1, None), (None, 1, 0)):
        job = cluster.detect(os.environ) if given == (None, None, None) else None
        if job is None or job.processes > 1:
            _initialize(given, job, heartbeat, patience)
    devices.check()
    if jax.process_count() > 1:
        # Orbax's processes meet by collectives otherwise, and where one fails the others wait for ever.
        flags.FLAGS["experimental_orbax_use_distributed_barrier"].value = True


def _initialize(given: Given, job: cluster.Job | None, heartbeat: int, patience: int | None) -> None:
    seconds = patience or (AT_ONCE_SECONDS if job else ONE_BY_ONE_SECONDS)
    address, number, index = given
    try:
        with _patience(seconds, job), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jax recommends packages to pods of Kubernetes
            jax.distributed.initialize(
                address,
                job.processes if job else number,
                index,
                coordinator_bind_address=_bind_address(address),
                # Its own end is a crash.
                initialization_timeout=seconds + 2 * FAREWELL_SECONDS,
                heartbeat_timeout_seconds=heartbeat,
                shutdown_timeout_seconds=heartbeat,
            )
    except ValueError as error:
        # Asking is calling: jax raises this before it does anything, if it sees no cluster.
        detecting = given == (None, None, None)
        if detecting and str(error).startswith("coordinator_address"):
            return
        if detecting:
            raise UserError(
                f"jax detects a job of several processes: {one_line(error)}; {cluster.ALONE}"
            ) from error
        raise UserError(
            "a job of several processes takes --coordinator_address, --num_processes and --process_id "
            f"where they cannot be detected: {one_line(error)}"
        ) from error
    except (RuntimeError, LookupError) as error:
        source = f"that {job.source} tells of " if job else ""
        raise RunError(
            f"the processes {source}cannot join ({one_line(error, 120)}); {cluster.ALONE}"
        ) from error


def _bind_address(address: str | None) -> str | None:
    """Returns where process 0 listens; ``None`` leaves it to jax, which also reads a variable."""
    if address is None or "JAX_COORDINATOR_BIND_ADDRESS" in os.environ:
        return None
    return bind_address(address)


def _check_port(port: int) -> None:
    """Makes sure that process 0 can listen; jax crashes where it cannot, or joins the job that does."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise RunError(f"port {port} of --coordinator_address cannot be had: {error.strerror}") from error


@contextlib.contextmanager
def _patience(seconds: int, job: cluster.Job | None) -> Iterator[None]:
    """Ends the process with one line if a block, in which it waits for the others, takes too long."""
    who = f"all {job.processes} processes that {job.source} tells of" if job else "all processes of the job"
    # A shell that has the variables of a job is a mistake; a machine that does not come up is none.
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
