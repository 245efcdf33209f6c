"""Tests against PyTorch are skipped if it is not installed."""

import importlib.util

import pytest

# pytest collects these modules for doctests, which would import torch. So the fixtures import them.
collect_ignore = [] if importlib.util.find_spec("torch") else ["checkpoints.py", "twin.py"]


@pytest.fixture(scope="module")
def twin():
    """Returns a soft-shared network in PyTorch whose batch-norm statistics are those of no data."""
    from tests.parity.twin import with_statistics

    return with_statistics()


@pytest.fixture(scope="module")
def file(tmp_path_factory, twin):
    """Returns a checkpoint of ``twin`` by the authors' script, with an object of an unknown class."""
    from tests.parity import checkpoints

    return checkpoints.save_theirs(twin, tmp_path_factory.mktemp("theirs") / "model_best.pth.tar")
