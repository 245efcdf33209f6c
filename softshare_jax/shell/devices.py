"""Checks that jax has a device, before a command starts its work."""

import os

import jax

from softshare_jax.errors import RunError, UserError, one_line


def check() -> None:
    """Checks that jax finds a device of the requested platform.

    Raises:
        UserError: ``JAX_PLATFORMS`` names a platform that this machine or installation does not have.
        RunError: ``JAX_PLATFORMS`` is not set, and no device works.
    """
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
