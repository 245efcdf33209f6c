"""A trained run, its fold and an unshared run, for the tests of their reports."""

import shutil

import pytest

from softshare_jax.conversion.folding import fold_run
from softshare_jax.reporting.write import write_report
from softshare_jax.runs.workdir import Workdir


@pytest.fixture(scope="package")
def runs(trained, unshared, tmp_path_factory) -> dict[str, Workdir]:
    """A trained run, its fold and an unshared run; tests copy them before they write."""
    folded = Workdir(tmp_path_factory.mktemp("runs") / "folded")
    fold_run(trained, folded, threshold=0.0)
    return {"trained": trained, "folded": folded, "unshared": unshared}


@pytest.fixture
def copy(runs, tmp_path):
    """Copies one of the runs; what is written stays in the test."""

    def copied(name: str) -> Workdir:
        shutil.copytree(runs[name].root, tmp_path / name)
        return Workdir(tmp_path / name)

    return copied


@pytest.fixture(scope="package")
def reported(runs, tmp_path_factory) -> dict[str, Workdir]:
    """All three runs in one report, which lies in ``trained``."""
    root = tmp_path_factory.mktemp("reported")
    copies = {name: Workdir(shutil.copytree(run.root, root / name)) for name, run in runs.items()}
    assert write_report(list(copies.values())) == copies["trained"].report_file
    return copies
