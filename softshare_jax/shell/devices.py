"""Checks that jax has a device, before a command starts its work."""

import os
import resource

import jax

from softshare_jax.errors import RunError, UserError, one_line

# Bytes of addresses below which jax's libraries may fail to start a thread. C++ then aborts the process.
LEAST_ADDRESSES = 3 * 2**29


def check() -> None:
    """Checks that jax finds a device of the requested platform, and may use enough memory.

    Raises:
        UserError: ``JAX_PLATFORMS`` names a platform that this machine or installation does not have.
        RunError: ``JAX_PLATFORMS`` is not set, and no device works; or a limit leaves too little memory.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESSES:
        raise RunError(
            f"memory is limited to {limit / 2**30:.1f} GiB of addresses (ulimit -v), and jax needs "
            f"{LEAST_ADDRESSES / 2**30:.1f} GiB"
        )
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        # The text may be empty, and may end with advice, which the message below replaces.
        text = one_line(str(error).partition(" (set JAX_PLATFORMS")[0], 160)
        why = f" ({text})" if text else ""
        platforms = os.environ.get("JAX_PLATFORMS")
        if platforms:
            raise UserError(
                f"JAX_PLATFORMS={platforms} matches no device of this machine{why}: unset it or set it to cpu"
            ) from error
        raise RunError(f"jax finds no device{why}") from error
