"""Prepares the process of a command: streams, log levels, warnings and environment variables."""

import contextlib
import ctypes
import glob
import hashlib
import importlib.util
import logging
import os
import pathlib
import platform
import sys
import warnings
from collections.abc import MutableMapping

from softshare_jax import paths

# A run is a function of its config. These variables would silently change its numbers, or only those after a
# resume.
NOT_READ = (
    "JAX_DEFAULT_PRNG_IMPL",
    "JAX_ENABLE_X64",
    "JAX_RANDOM_SEED_OFFSET",
    "JAX_THREEFRY_PARTITIONABLE",
)
# Without these, libtpu queries the cloud's metadata server, logs long warnings, and locks chips even where
# there are none.
LIBTPU = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_LOG_DIR": "disabled",
}
# Options of mallopt, from malloc.h. Only the first arena can hold blocks of more than 64 MB.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
# PCI vendor of TPUs.
GOOGLE = "0x1ae0"


def prepare() -> None:
    """Prepares the process of a command, before jax is imported."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot print a character shows its code, such as "(1)\xd74".
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # Orbax and jax log at length what the commands already report. asyncio logs reads that Orbax abandoned.
    for name in ("absl", "asyncio", "jax"):
        logging.getLogger(name).setLevel(logging.CRITICAL if name in ("absl", "asyncio") else logging.ERROR)
    # A broken compilation cache only costs time.
    warnings.filterwarnings("ignore", r"Error (reading|writing) persistent compilation cache")
    # Orbax drops coroutines when it cannot open files.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    for name in NOT_READ:
        os.environ.pop(name, None)
    cache_programs(os.environ)
    tpu = has_tpu()
    if not tpu and not has_gpu():
        keep_memory()
    quiet_libtpu(os.environ, tpu)


def cache_programs(environ: MutableMapping[str, str]) -> None:
    """Lets jax keep compiled programs in the user's cache folder, unless the user chose a folder.

    Programs for one kind of CPU may not run on another, and machines may share a home folder, so each kind
    has a folder of its own.

    Args:
        environ: environment variables; existing ones stay.
    """
    try:
        processor = pathlib.Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        processor = platform.processor()
    lines = [line for line in processor.splitlines() if line.startswith(("model name", "flags", "Features"))]
    kind = hashlib.sha256("".join([platform.machine(), *lines]).encode()).hexdigest()[:8]
    with contextlib.suppress(RuntimeError):  # without a home folder there is no cache
        environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(paths.cache() / "programs" / kind))
    # By default jax keeps only programs that took a second or more; a command starts with many others.
    environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def keep_memory() -> None:
    """Makes the allocator of Linux (glibc) keep large blocks for the next step.

    XLA:CPU allocates the memory of a program at each call. By default glibc returns large blocks to the
    system at once, and the system hands out zeroed pages again: about a tenth of a training step
    (``python -m benchmarks.speed.cpu_step``).
    """
    try:
        set_option = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    for option, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, 1 << 30), (M_TRIM_THRESHOLD, (1 << 31) - 1)):
        set_option(option, value)


def quiet_libtpu(environ: MutableMapping[str, str], tpu: bool) -> None:
    """Silences libtpu on a machine without a TPU, where it only serves to compile for other machines.

    jax always loads libtpu, and libtpu warns about everything that it does not find.

    Args:
        environ: environment variables; missing ones are set, existing ones stay.
        tpu: whether this machine has a TPU; if so, libtpu detects the rest itself.
    """
    if not tpu and "JAX_FORCE_TPU_INIT" not in environ and importlib.util.find_spec("libtpu"):
        for name, value in LIBTPU.items():
            environ.setdefault(name, value)


def has_gpu() -> bool:
    """Returns whether this machine has an NVIDIA or AMD GPU that a process may use."""
    return os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/kfd")


def has_tpu() -> bool:
    """Returns whether this machine has a TPU: a kernel device, or a PCI device, which is jax's own check."""
    if glob.glob("/dev/accel*") or glob.glob("/dev/vfio/*"):
        return True
    for file in glob.glob("/sys/bus/pci/devices/*/vendor"):
        with contextlib.suppress(OSError):
            if pathlib.Path(file).read_text().strip() == GOOGLE:
                return True
    return False
