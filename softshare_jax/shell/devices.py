"""Whether jax has devices to compute on, asked before anything else is done."""

import os

import jax

from softshare_jax.errors import RunError, UserError, one_line


def check() -> None:
    """Makes sure that there are devices of the platform that was asked for.

    Raises:
        UserError: ``JAX_PLATFORMS`` names a platform that this machine or this installation has not.
        RunError: nobody named one, and no device works.
    """
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        # jax has no text where it found none of several platforms, and advice where it has one.
        text = one_line(str(error).partition(" (set JAX_PLATFORMS")[0], 160)
        why = f" ({text})" if text else ""
        platforms = os.environ.get("JAX_PLATFORMS")
        if platforms:
            raise UserError(
                f"JAX_PLATFORMS={platforms} names no device of this machine{why}: unset it, or set it to cpu"
            ) from error
        raise RunError(f"jax finds no device to compute on{why}") from error
