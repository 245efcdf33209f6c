"""The number of devices only changes rounding: losses, weights, randomness."""

import dataclasses
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax import config as config_lib
from softshare_jax.models.cells.genotypes import GENOTYPES, SNAS, Cell
from softshare_jax.models.dropout import Dropout
from softshare_jax.training import mesh as mesh_lib
from softshare_jax.training.experiment import make_experiment
from tests import tiny
from tests.training.stepping import STEPS, check_same_losses, take_steps


def shortest_paths(**changes):
    return tiny.config(duration=f"{STEPS} steps", data__phase=f"{STEPS} steps", **changes)


def wide_resnet():
    """Returns the config of a small wide ResNet with all random parts: augmentation, cutout and dropout."""
    values = runpy.run_path(str(tiny.REPO / "configs" / "cifar10.py"))["get_config"](
        "wrn-10-1-dropout-cutout"
    )
    values.update_from_flattened_dict(
        {
            "data.train_examples": 32,
            "batch_size": 8,
            "duration": f"{STEPS} steps",
            # With the paper's 0.1 and a batch of 8, an error in the last bit grows 10,000-fold in 50 steps.
            "optimizer.learning_rate": 0.002,
            "optimizer.ema_decay": 0.9,
        }
    )
    return config_lib.from_dict(values.to_dict())


def cells():
    """Returns the config of searched cells with an auxiliary head, drop path and clipped gradients."""
    values = runpy.run_path(str(tiny.REPO / "configs" / "cells.py"))["get_config"]("snas-5x4")
    values.update_from_flattened_dict(
        {"data.train_examples": 16, "batch_size": 8, "duration": "4 steps", "drop_path_rate": 0.5}
    )
    return config_lib.from_dict(values.to_dict())


def test_losses_of_shortest_paths_on_one_two_and_four_devices():
    one, two, four = (take_steps(shortest_paths(), devices)[0] for devices in (1, 2, 4))
    assert one[-1] < one[0] / 3
    for several in (two, four):
        check_same_losses(several, one, depth=6)


def test_losses_of_a_wide_resnet_on_one_and_four_devices():
    (one, alone), (four, parallel) = (take_steps(wide_resnet(), devices) for devices in (1, 4))
    check_same_losses(four, one, depth=12)
    assert len(set(np.round(one, 3))) > STEPS / 2
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3),
        jax.device_get(parallel.variables),
        jax.device_get(alone.variables),
    )


def test_losses_of_searched_cells_on_one_and_four_devices(monkeypatch):
    # Two nodes of each cell have all its kinds of operations, and compile in half the time.
    normal, reduction = (Cell(cell.nodes[:2], (2, 3)) for cell in (SNAS.normal, SNAS.reduction))
    monkeypatch.setitem(GENOTYPES, "snas", dataclasses.replace(SNAS, normal=normal, reduction=reduction))
    alone = make_experiment(cells(), devices=jax.devices()[:1])
    start = jax.device_get(alone.programs.init_state())
    one, four = (
        take_steps(
            cells(), devices, 4, mesh_lib.place(mesh_lib.data_mesh(8, jax.devices()[:devices]), start)
        )[0]
        for devices in (1, 4)
    )
    # Five cells of a few layers each.
    check_same_losses(four, one, depth=30)


def test_a_sharded_state_takes_the_same_steps():
    # With 16 channels the templates [4, 3, 3, 16, 16] are large enough to be split along the last axis.
    config = shortest_paths(model="scnn-4-16", optimizer__ema_decay=0.9)
    sharded = dataclasses.replace(config, shard_state=True)
    (whole, _), (split, state) = (take_steps(c, 4, steps=20) for c in (config, sharded))
    check_same_losses(split, whole, depth=6)
    trees = (state.variables, state.variables["average"], state.opt_state[1].mu)
    for templates in (tree["templates"]["blocks"] for tree in trees):
        assert templates.addressable_shards[0].data.shape == (4, 3, 3, 4, 16)
    assert state.variables["coefficients"]["blocks"].is_fully_replicated
    assert config_lib.first_difference(config, sharded) is None


def test_gradients_in_bfloat16_differ_by_rounding():
    config = shortest_paths(optimizer__name="sgd", optimizer__learning_rate=0.1)
    rounded = dataclasses.replace(config, gradient_dtype="bfloat16")
    start = make_experiment(config).programs.init_state().variables["templates"]["blocks"]
    exact, near = (
        take_steps(c, 4, steps=1)[1].variables["templates"]["blocks"] - start for c in (config, rounded)
    )
    assert np.linalg.norm(near - exact) < 0.01 * np.linalg.norm(exact)
    assert (np.asarray(near) != np.asarray(exact)).any()
    assert config_lib.first_difference(config, rounded).startswith("gradient_dtype was 'float32' and is now")


def test_dropout_is_a_function_of_the_place_in_the_global_batch():
    x, key = jnp.ones((8, 5, 3)), jax.random.key(3)
    whole = Dropout(0.4).apply({}, x, True, rngs={"dropout": key})
    mesh = mesh_lib.data_mesh(8)
    part = jax.sharding.PartitionSpec(mesh_lib.AXIS)

    @jax.jit
    @jax.shard_map(mesh=mesh, in_specs=part, out_specs=part)
    def spread(x):
        return Dropout(0.4, mesh_lib.AXIS).apply({}, x, True, rngs={"dropout": key})

    np.testing.assert_array_equal(spread(x), whole)
    kept = np.asarray(whole) != 0
    assert len({row.tobytes() for row in kept}) == 8
    assert kept.mean() == pytest.approx(0.6, abs=0.15)
    np.testing.assert_allclose(np.asarray(whole)[kept], 1 / 0.6, rtol=1e-6)
    np.testing.assert_array_equal(Dropout(0.4).apply({}, x, False), x)
