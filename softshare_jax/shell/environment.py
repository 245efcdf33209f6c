"""The process that a command runs in: its streams, and what libraries read from outside."""

import contextlib
import glob
import importlib.util
import logging
import os
import pathlib
import sys
import warnings
from collections.abc import MutableMapping

# A run is a function of its config. With these variables jax would change its numbers in silence, or those of
# its second half when it is resumed.
NOT_READ = (
    "JAX_DEFAULT_PRNG_IMPL",
    "JAX_ENABLE_X64",
    "JAX_RANDOM_SEED_OFFSET",
    "JAX_THREEFRY_PARTITIONABLE",
)
# Without these libtpu asks the cloud's metadata server what machine it is on, and complains at length; and it
# locks chips, even where there are none.
LIBTPU = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_LOG_DIR": "disabled",
}
# PCI vendor of TPUs.
GOOGLE = "0x1ae0"


def prepare() -> None:
    """Prepares the process of a command, before jax is imported."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot print a character gets its code, such as "(1)\xd74".
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # Orbax and jax log what the commands say themselves, at length; asyncio what Orbax dropped; matplotlib
    # that it draws for the first time on this machine.
    for name in ("absl", "asyncio", "jax", "matplotlib"):
        logging.getLogger(name).setLevel(logging.CRITICAL if name in ("absl", "asyncio") else logging.ERROR)
    # A cache that cannot be read or written costs time and nothing else.
    # Orbax drops them when it cannot open files.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    warnings.filterwarnings("ignore", r"Error (reading|writing) persistent compilation cache")
    # Orbax drops them when it cannot open files.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    for name in NOT_READ:
        os.environ.pop(name, None)
    quiet_libtpu(os.environ, has_tpu())


def quiet_libtpu(environ: MutableMapping[str, str], tpu: bool) -> None:
    """Keeps libtpu quiet where it is installed to compile for TPUs of other machines.

    jax loads it in any case, and it warns about everything that it does not find.

    Args:
        environ: variables of the process, which are set unless they are there.
        tpu: whether this machine has a TPU; libtpu then finds out the rest by itself.
    """
    if not tpu and "JAX_FORCE_TPU_INIT" not in environ and importlib.util.find_spec("libtpu"):
        for name, value in LIBTPU.items():
            environ.setdefault(name, value)


def has_tpu() -> bool:
    """Returns whether this machine has a TPU, as a device of the kernel or, as jax looks for it, of PCI."""
    if glob.glob("/dev/accel*") or glob.glob("/dev/vfio/*"):
        return True
    for file in glob.glob("/sys/bus/pci/devices/*/vendor"):
        with contextlib.suppress(OSError):
            if pathlib.Path(file).read_text().strip() == GOOGLE:
                return True
    return False
