"""Runs launchers as a user would, without the tests' fake devices."""

import os
import subprocess

from tests import COMPILE_FAST, tiny

ENVIRONMENT = {
    **os.environ,
    "XLA_FLAGS": COMPILE_FAST,
    # Fake devices share two cores: programs in flight at once could wait for each other endlessly.
    "JAX_CPU_ENABLE_ASYNC_DISPATCH": "false",
}


def run(*command, env=None):
    """Runs a command to its end, in the root of the repository."""
    return subprocess.run(
        list(map(str, command)),
        cwd=tiny.REPO,
        env=env or ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
