"""Strict settings for all tests: four fake devices, warnings as errors, no silent rank promotion."""

import os
import pathlib

from tests import COMPILE_FAST

REPO = pathlib.Path(__file__).parents[1]

# Before jax is imported, here and in the processes that tests start.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=4 {COMPILE_FAST}"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(REPO / ".cache" / "jax"))
# All programs: the processes of the tests compile the same ones.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ["PYTHONPATH"] = os.pathsep.join([str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])])

from tests import shapes  # noqa: E402

shapes.install()

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

from softshare_jax import config as config_lib  # noqa: E402
from softshare_jax.runs.loop import train  # noqa: E402
from softshare_jax.runs.workdir import Workdir  # noqa: E402
from softshare_jax.shell import logs  # noqa: E402
from tests import tiny  # noqa: E402

logs.configure()  # as commands do: tests read the log
jax.config.update("jax_numpy_rank_promotion", "raise")
# Four fake devices share two cores: programs in flight at once could wait endlessly for each other's threads.
jax.config.update("jax_cpu_enable_async_dispatch", False)
hypothesis.settings.register_profile("tests", deadline=None, max_examples=25, derandomize=True)
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session")
def tiny_config() -> config_lib.Config:
    """Returns the quickstart config, shrunk to seconds."""
    return tiny.config()


@pytest.fixture(scope="session")
def trained(tmp_path_factory, tiny_config) -> Workdir:
    """Returns a trained run. Tests that write into a workdir copy it first."""
    workdir = Workdir(tmp_path_factory.mktemp("trained") / "run")
    train(tiny_config, workdir)
    return workdir


@pytest.fixture(scope="session")
def unshared(tmp_path_factory) -> Workdir:
    """Returns a trained run of the unshared network."""
    workdir = Workdir(tmp_path_factory.mktemp("unshared") / "run")
    train(tiny.config(model="cnn-4-6", sharing__recurrence=0.0), workdir)
    return workdir
