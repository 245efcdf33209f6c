"""A state that is not finite is never saved. Such checkpoints of earlier versions are refused."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax.conversion.exporting import export_run
from softshare_jax.conversion.folding import fold_run
from softshare_jax.conversion.output import new_workdir, write_run
from softshare_jax.conversion.resizing import resize_run
from softshare_jax.errors import RunError
from softshare_jax.runs.evaluation import evaluate
from softshare_jax.runs.loop import train
from softshare_jax.runs.records import read_metrics
from softshare_jax.runs.workdir import Workdir
from softshare_jax.storage import checkpoints as checkpoints_lib
from softshare_jax.storage.checkpoints import Checkpoints
from softshare_jax.training.experiment import make_experiment
from softshare_jax.training.finite import first_not_finite
from softshare_jax.training.programs import Programs
from softshare_jax.training.stages import Stages


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_is_enough(dtype, value):
    tree = {"a": [jnp.zeros((3, 2), dtype)], "step": jnp.int32(2**31 - 1), "none": jnp.zeros((0,), dtype)}
    assert first_not_finite(tree) is None
    assert first_not_finite({**tree, "b": jnp.zeros((3, 2), dtype).at[2, 1].set(value)}) == "b"


@pytest.mark.parametrize("part", ["variables", "opt_state"])
def test_a_state_that_is_not_finite_is_not_saved(tmp_path, tiny_config, part):
    experiment = make_experiment(tiny_config)
    checkpoints = Checkpoints(tmp_path / "checkpoints", Stages(experiment))
    state = experiment.programs.init_state()
    broken = jax.tree.map(lambda x: x * jnp.nan if x.dtype == jnp.float32 else x, getattr(state, part))
    broken = state.replace(step=2, **{part: broken})
    with pytest.raises(
        RunError, match="at step 2, so step 2 is not saved; there is no checkpoint yet; if it happens"
    ):
        checkpoints.save(broken, None)
    checkpoints.save(state.replace(step=1), None)
    with pytest.raises(
        RunError, match="the same command resumes from checkpoint 1, which is finite; if it happens"
    ):
        checkpoints.save(broken, {"target/f1": 1.0})
    checkpoints.close()
    assert checkpoints.steps() == [1]


def test_a_run_whose_weights_break_in_its_last_step_saves_nothing_of_it(tmp_path, trained, capfd):
    # The loss uses the weights before the update, so it is finite.
    workdir = Workdir(shutil.copytree(trained.root, tmp_path / "run"))
    config = dataclasses.replace(workdir.read_config(), duration="17 steps")
    steps = Programs.train_steps.func

    def break_weights(programs):
        take = steps(programs)

        def broken(state, *arguments):
            state, metrics = take(state, *arguments)
            return state.replace(variables=jax.tree.map(lambda x: x / 0, state.variables)), metrics

        return broken

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Programs, "train_steps", property(break_weights))
        with pytest.raises(
            RunError, match="not finite at step 17, so step 17 is not saved; the same command resumes"
        ):
            train(config, workdir)
    assert not (workdir.checkpoints / "17").exists()
    assert np.isfinite(read_metrics(workdir.metrics_file)[-1]["train/loss"])
    # The same command does resume.
    capfd.readouterr()
    train(config, workdir)
    assert "resuming from step 16" in capfd.readouterr().out
    assert (workdir.checkpoints / "17").is_dir()


def test_weights_that_are_not_finite_are_not_used(tmp_path, trained, monkeypatch):
    workdir = Workdir(shutil.copytree(trained.root, tmp_path / "run"))
    experiment = make_experiment(workdir.read_config(), workdir.read_plan())
    checkpoints = Checkpoints(workdir.checkpoints, Stages(experiment))
    state = checkpoints.restore(workdir.damaged)
    templates = jax.tree.map(lambda x: x.at[(0,) * x.ndim].set(jnp.nan), state.variables["templates"])
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints_lib, "first_not_finite", lambda tree: None)
        checkpoints.save(state.replace(step=17, variables={**state.variables, "templates": templates}), None)
        checkpoints.close()
    output = tmp_path / "output"
    for command in (
        lambda: fold_run(workdir, Workdir(output), threshold=0.5),
        lambda: resize_run(workdir, Workdir(output), templates=2),
        lambda: export_run(workdir, output),
        lambda: evaluate(None, workdir),
    ):
        with pytest.raises(
            RunError, match=r"17 are not finite \(templates/blocks\): .* the steps there are 17, 16"
        ):
            command()
    with pytest.raises(
        RunError, match=r"checkpoints/17 is not finite \(variables/templates/blocks\): move it to"
    ):
        train(dataclasses.replace(experiment.config, duration="18 steps"), workdir)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert fold_run(workdir, Workdir(output), threshold=0.5, step=16).step == 16


def test_a_command_does_not_write_weights_that_are_not_finite(tmp_path, tiny_config):
    experiment = make_experiment(tiny_config)
    variables = jax.tree.map(lambda x: x / 0, experiment.programs.init_state().variables)
    with (
        pytest.raises(RunError, match="cannot write weights that are not finite"),
        new_workdir(Workdir(tmp_path / "output")) as workdir,
    ):
        write_run(workdir, experiment, 4, variables)
    assert list(tmp_path.iterdir()) == []
