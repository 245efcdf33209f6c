"""Workdirs that are deleted or moved while a run writes into them."""

import shutil
import time

import pytest

from softshare_jax.errors import RunError
from softshare_jax.runs.loop import train
from softshare_jax.runs.records import Records
from softshare_jax.runs.workdir import Workdir
from tests import tiny


@pytest.mark.parametrize("step", [8, 16])
@pytest.mark.parametrize("remove", [shutil.rmtree, lambda root: root.rename(root.with_name("moved"))])
def test_a_run_whose_workdir_vanishes_is_not_trained(tmp_path, monkeypatch, capsys, step, remove):
    workdir, write = Workdir(tmp_path / "run"), Records.write_scalars

    def write_and_remove(records, at, scalars):
        write(records, at, scalars)
        if at == step:  # after the previous step was saved
            deadline = time.monotonic() + 60
            while not (workdir.checkpoints / str(step - 4)).exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            remove(workdir.root)

    monkeypatch.setattr(Records, "write_scalars", write_and_remove)
    with pytest.raises(RunError, match=f"step {step} is not saved: {workdir.root} was moved or deleted"):
        train(tiny.config(keep_checkpoints=20), workdir)
    assert not workdir.root.exists()
    assert "trained" not in capsys.readouterr().out
