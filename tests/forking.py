"""Runs commands in forks of a process that has imported their libraries.

The import takes most of the time of a command that ends with a mistake. Apart from that, a fork runs like a
user's command (``tests.tiny.run``): its exit code, stdout and stderr are its own.
"""

import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

# What the commands import. The commands themselves run as ``__main__``.
LIBRARIES = [
    "softshare_jax.runs.loop",
    "softshare_jax.runs.evaluation",
    "softshare_jax.conversion.exporting",
    "softshare_jax.conversion.folding",
    "softshare_jax.reporting.write",
    "softshare_jax.shell.config_flag",
    "tests.forking",
    "pytest",  # which multiprocessing imports in each fork
]
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(LIBRARIES)


def run(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m softshare_jax.COMMAND`` to its end, with one device.

    Args:
        command: module of the command.
        arguments: its arguments.
    """
    given = list(map(str, arguments))
    with tempfile.TemporaryDirectory() as folder:
        out, err = pathlib.Path(folder, "out"), pathlib.Path(folder, "err")
        process = _server.Process(target=_run, args=(command, given, dict(os.environ), out, err))
        process.start()
        process.join(300)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{command} {given}")
        return subprocess.CompletedProcess(given, process.exitcode, out.read_text(), err.read_text())


def _run(
    command: str, arguments: list[str], environ: dict[str, str], out: pathlib.Path, err: pathlib.Path
) -> None:
    from tests import COMPILE_FAST, tiny

    os.chdir(tiny.REPO)
    os.environ.clear()
    os.environ.update(environ, XLA_FLAGS=COMPILE_FAST)
    for number, path in ((0, os.devnull), (1, out), (2, err)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = [f"softshare_jax.{command}", *arguments]
    sys.modules.pop(f"softshare_jax.{command}", None)  # a library may have imported it
    runpy.run_module(f"softshare_jax.{command}", run_name="__main__", alter_sys=True)
