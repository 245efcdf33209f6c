"""Runs that start unshared and anneal to k templates."""

import shutil

import jax
import numpy as np
import pytest

from softshare_jax import sharing
from softshare_jax.conversion.folding import fold_run
from softshare_jax.conversion.lengthening import lengthen_run
from softshare_jax.conversion.resizing import resize_run
from softshare_jax.errors import UserError
from softshare_jax.runs.load import load
from softshare_jax.runs.loop import train
from softshare_jax.runs.workdir import Workdir
from softshare_jax.training.checksum import checksum
from softshare_jax.training.experiment import make_experiment
from softshare_jax.training.stages import make_stages
from tests import tiny

# Annealing ends between two checkpoints.
CHANGES = {
    "model": "scnn-4-6-2",
    "sharing__anneal": "10 steps",
    "optimizer__ema_decay": 0.9,
    "optimizer__schedule": "constant",
    "keep_checkpoints": 10,
}


@pytest.fixture(scope="module")
def annealed(tmp_path_factory):
    workdir = Workdir(tmp_path_factory.mktemp("annealed") / "run")
    train(tiny.config(**CHANGES), workdir)
    return workdir


def rank(run):
    (weights,) = (
        sharing.similarity(run.experiment.plan, run.variables, "weights").values()
        if run.step < run.experiment.schedule.annealing
        else [run.variables["coefficients"]["blocks"]]
    )
    return np.linalg.matrix_rank(weights, tol=1e-4)


def test_templates_before_and_after(annealed):
    for step, templates in ((4, 4), (8, 4), (12, 2), (16, 2)):
        run = load(annealed, step)
        assert run.experiment.plan.groups[0].templates == templates
        assert run.variables["templates"]["blocks"].shape == (templates, 3, 3, 6, 6)
        assert rank(run) == templates
    assert annealed.read_plan().groups[0].templates == 2


def test_a_run_starts_as_the_unshared_network():
    soft = make_stages(tiny.config(**CHANGES)).at(0)
    unshared = make_experiment(tiny.config(model="cnn-4-6", sharing__recurrence=0.0))
    state = soft.programs.init_state()
    found = soft.programs.to_dense({n: v for n, v in state.variables.items() if n != "average"})
    jax.tree.map(np.testing.assert_array_equal, found, unshared.programs.init_state().variables)


def test_a_change_of_templates_loses_nothing():
    stages = make_stages(tiny.config(**CHANGES))
    wide, experiment = stages.at(9), stages.final
    fed = wide.task.feed(wide.batching, range(10)).at(0)
    state, metrics = wide.programs.init_state(), wide.programs.no_metrics()
    for _ in range(10):
        state, metrics = wide.programs.train_steps(state, metrics, fed, 1)
    assert stages.at(10) is experiment
    after = stages.take_over(state)
    for variables, gone_on in (
        (state.variables, after.variables),
        (state.variables["average"], after.variables["average"]),
    ):
        network = {name: tree for name, tree in variables.items() if name != "average"}
        a, b = (
            wide.programs.to_dense(network),
            experiment.programs.to_dense({n: v for n, v in gone_on.items() if n != "average"}),
        )
        tolerance = 1e-5 if variables is state.variables else 0.2  # an average over weights of rank above k
        jax.tree.map(lambda x, y, t=tolerance: np.testing.assert_allclose(x, y, atol=t), a, b)


def test_a_run_stopped_before_the_change_resumes_bit_for_bit(annealed, tmp_path):
    workdir = Workdir(shutil.copytree(annealed.root, tmp_path / "run"))
    for step in (12, 16):
        shutil.rmtree(workdir.checkpoints / str(step))
    train(None, workdir)
    ends = [load(run).variables for run in (workdir, annealed)]
    assert checksum(ends[0]) == checksum(ends[1])


def test_folding_and_converting_wait_for_the_end(annealed, tmp_path):
    output = Workdir(tmp_path / "output")
    for make in (lambda: fold_run(annealed, output, step=8), lambda: resize_run(annealed, output, 1, step=8)):
        with pytest.raises(UserError, match="is annealed until step 10: take that step or a later one"):
            make()
    assert fold_run(annealed, output, threshold=0.0, step=12).loops == {"blocks": "(1)×4"}


def test_mistakes():
    with pytest.raises(UserError, match=r"sharing\.anneal is '17 steps'; it must be at most config"):
        make_experiment(tiny.config(sharing__anneal="17 steps"))
    with pytest.raises(UserError, match=r"sharing\.anneal needs shared layers, but cnn-4-6 has none"):
        make_experiment(tiny.config(model="cnn-4-6", sharing__recurrence=0.0, sharing__anneal="4 steps"))
    with pytest.raises(UserError, match=r"sharing\.anneal is 'soon'; it must be a duration"):
        make_experiment(tiny.config(sharing__anneal="soon"))


def test_a_converted_run_is_not_annealed_again(annealed, tmp_path):
    config = tiny.config(**CHANGES, duration="20 steps")
    resize_run(annealed, Workdir(tmp_path / "more"), templates=3, config=config)
    run = load(Workdir(tmp_path / "more"))
    assert (run.step, run.experiment.config.sharing.anneal) == (0, "")
    assert run.experiment.plan.groups[0].templates == 3
    another = tiny.config(**{**CHANGES, "sharing__anneal": "4 steps"})
    with pytest.raises(UserError, match="a converted run has its templates from the start"):
        resize_run(annealed, Workdir(tmp_path / "again"), templates=3, config=another)
    assert not (tmp_path / "again").exists()


def test_a_longer_loop_of_an_annealed_run(tmp_path):
    source, folded, longer = (Workdir(tmp_path / name) for name in ("run", "folded", "longer"))
    changes = {"model": "sgated-4-6-2", "sharing__anneal": "8 steps", "duration": "12 steps"}
    train(tiny.config("extrapolation", **changes), source)
    fold_run(source, folded, threshold=0.0)
    lengthen_run(folded, longer, 6, tiny.config("extrapolation", **{**changes, "duration": "4 steps"}))
    train(None, longer)
    assert load(longer).step == 4
    with pytest.raises(UserError, match="--folded keeps the form of sharing"):
        lengthen_run(folded, Workdir(tmp_path / "other"), 6, tiny.config("extrapolation", sharing__rank=2))
