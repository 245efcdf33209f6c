"""Batch-norm recalibration."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax import sharing
from softshare_jax.config import from_dict, recipes
from softshare_jax.conversion.batch_norm import make_reestimation
from softshare_jax.conversion.folding import fold_run
from softshare_jax.errors import UserError
from softshare_jax.runs.load import load
from softshare_jax.runs.workdir import Workdir
from softshare_jax.training.experiment import make_experiment


def test_the_statistics_are_those_of_the_training_images(trained):
    run = load(trained)
    experiment = run.experiment
    dense = experiment.programs.to_dense(run.variables)
    wrong = {**dense, "batch_stats": jax.tree.map(lambda x: x + 3, dense["batch_stats"])}
    found = make_reestimation(experiment, 60)(wrong)
    # No norm precedes the first block, so its statistics are those of all training images.
    images = experiment.task.inputs(experiment.task.load("train", experiment.task.phases - 1))
    params = jax.tree.map(np.asarray, dense["params"])
    x = np.einsum("bhwi,io->bhwo", images, params["stem"]["kernel"][0, 0]) + params["stem"]["bias"]
    dimensions = ("NHWC", "HWIO", "NHWC")
    kernel = params["block_0"]["conv"]["kernel"]
    y = jax.lax.conv_general_dilated(
        jnp.asarray(x, jnp.float32), kernel, (1, 1), "SAME", dimension_numbers=dimensions
    )
    norm = found["batch_stats"]["block_0"]["norm"]
    np.testing.assert_allclose(norm["mean"], y.mean((0, 1, 2)), atol=0.02)
    np.testing.assert_allclose(norm["var"], y.var((0, 1, 2)), rtol=0.05)
    jax.tree.map(np.testing.assert_array_equal, found["params"], dense["params"])


def test_a_fold_with_new_statistics(tmp_path, trained):
    kept = fold_run(trained, Workdir(tmp_path / "kept"), threshold=0.0)
    renewed = fold_run(trained, Workdir(tmp_path / "renewed"), threshold=0.0, batch_norm_batches=10)
    stored = json.loads((tmp_path / "renewed" / "certificate.json").read_text())
    assert (stored["batch_norm_batches"], kept.batch_norm_batches) == (10, 0)
    assert stored["checksum"] == renewed.difference.checksum != kept.difference.checksum
    before, after = load(Workdir(tmp_path / "kept")), load(Workdir(tmp_path / "renewed"))
    assert before.experiment.plan == after.experiment.plan
    for name in ("params", "templates", "coefficients"):
        jax.tree.map(np.testing.assert_array_equal, before.variables[name], after.variables[name])


def test_a_budget_is_searched_with_new_statistics(tmp_path, trained, monkeypatch):
    tried = []
    within = sharing.fold_within

    def spy(plan, variables, evaluate, *rest, **options):
        tried.append(evaluate)
        return within(plan, variables, evaluate, *rest, **options)

    monkeypatch.setattr(sharing, "fold_within", spy)
    certificate = fold_run(trained, Workdir(tmp_path / "a"), max_drop=100.0, batch_norm_batches=5)
    run = load(trained)
    dense = run.experiment.programs.to_dense(run.variables)
    damaged = {**dense, "batch_stats": jax.tree.map(jnp.zeros_like, dense["batch_stats"])}
    # The search does not depend on the stored statistics.
    assert tried[0](damaged) == pytest.approx(tried[0](dense), abs=0.02)
    assert certificate.batch_norm_batches == 5


def test_statistics_stay_if_nothing_folds_within_the_budget(tmp_path, trained, monkeypatch):
    given = {}

    def nothing_folds(plan, variables, evaluate, *rest, before, **options):
        given.update(before=before, variables=variables)
        return sharing.Folded(plan, dict(variables)), 1.0

    monkeypatch.setattr(sharing, "fold_within", nothing_folds)
    certificate = fold_run(trained, Workdir(tmp_path / "a"), max_drop=0.0, batch_norm_batches=5)
    assert certificate.batch_norm_batches == 0
    metric = certificate.difference.metric
    # The drop is measured from the network as it was trained.
    assert metric.before == metric.after == pytest.approx(given["before"], abs=1e-6)
    kept = load(Workdir(tmp_path / "a")).variables["batch_stats"]
    jax.tree.map(np.testing.assert_array_equal, kept, given["variables"]["batch_stats"])


def test_a_negative_number(tmp_path, trained):
    with pytest.raises(UserError, match="--batch_norm_batches is 0 or more, not -1"):
        fold_run(trained, Workdir(tmp_path / "a"), batch_norm_batches=-1)


def test_a_network_without_batch_norm():
    experiment = make_experiment(from_dict(recipes.vit("svit-2-32-8-1").to_dict()))
    with pytest.raises(UserError, match="svit-2-32-8-1 has no batch-norm: leave --batch_norm_batches out"):
        make_reestimation(experiment, 1)
