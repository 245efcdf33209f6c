"""Loops as data: the schedule rebuilds every layer."""

import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax import sharing
from softshare_jax.conversion.schedule import schedule


@pytest.mark.parametrize("per_channel", [False, True])
def test_each_layer_is_a_weight_times_its_scales(per_channel):
    random = np.random.default_rng(0)
    kept, scales = random.normal(size=(2, 6, 5)), random.normal(size=(4, 5 if per_channel else 1))
    weights = kept[[0, 1, 1, 0]] * scales[:, None]
    params = {f"layer_{i}": jnp.asarray(weight, jnp.float32) for i, weight in enumerate(weights)}
    plan = sharing.by_shape(2, per_channel=per_channel)(params)
    found = schedule(plan, sharing.from_dense(plan, params))["6x5"]
    assert (found["layers"], found["weights"]) == ([0, 1, 1, 0], ["layer_0", "layer_1"])
    assert found["loops"] == "1 (2)×2 1"
    for layer, (number, scale) in enumerate(zip(found["layers"], found["scales"], strict=True)):
        source = params[found["weights"][number]]
        np.testing.assert_allclose(np.multiply(scale, source), params[f"layer_{layer}"], atol=1e-5)
