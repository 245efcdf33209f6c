"""The loops of a network as data."""

import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax import sharing
from softshare_jax.conversion.schedule import schedule


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_schedule_rebuilds_the_weights(per_channel):
    weights = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    factors = np.array([1, 1, 2, -0.5], np.float32)[:, None, None]
    if per_channel:
        factors = factors * np.array([1, 2, 3, 4], np.float32) ** (factors != 1)
    layers = weights[[0, 1, 1, 0]] * factors
    params = {f"layer_{i}": jnp.asarray(layer) for i, layer in enumerate(layers)}
    plan = sharing.by_shape(per_channel=per_channel)(params)
    (found,) = schedule(*sharing.fold(plan, sharing.from_dense(plan, params), 0.999)).values()
    assert (found["layers"], found["weights"]) == ([0, 1, 1, 0], ["layer_0", "layer_1"])
    assert found["loops"] == "1 (2)×2 1"
    for layer, number, scale in zip(layers, found["layers"], found["scales"], strict=True):
        source = np.asarray(params[found["weights"][number]])
        np.testing.assert_allclose(layer, source * np.asarray(scale), atol=1e-5)
