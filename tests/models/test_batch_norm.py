"""Batch-norm equals linen's to rounding, with the same variables."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from softshare_jax.models.batch_norm import BatchNorm


def _pair(train, dtype=jnp.float32, axis_name=None):
    ours = BatchNorm(not train, dtype=dtype, axis_name=axis_name)
    return ours, nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=dtype, axis_name=axis_name)


def _variables(channels):
    draw = np.random.default_rng(1)
    positive = jnp.asarray(draw.uniform(0.5, 2, (2, channels)), jnp.float32)
    any_sign = jnp.asarray(draw.normal(size=(2, channels)), jnp.float32)
    return {
        "params": {"scale": positive[0], "bias": any_sign[0]},
        "batch_stats": {"mean": any_sign[1], "var": positive[1]},
    }


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_result_statistics_and_gradients_are_those_of_linen(train, dtype):
    """The result, the running statistics and the gradients of input, scale and bias."""
    x = jnp.asarray(np.random.default_rng(0).normal(1.0, 2.0, (4, 5, 5, 6)), dtype)
    variables = _variables(6)
    results = []
    for layer in _pair(train, dtype):

        def loss(params, x, layer=layer):
            y, updated = layer.apply({**variables, "params": params}, x, mutable=["batch_stats"])
            return jnp.sum(jnp.sin(y.astype(jnp.float32))), (y, updated)

        gradients, (y, updated) = jax.grad(loss, (0, 1), has_aux=True)(variables["params"], x)
        assert y.dtype == gradients[1].dtype == dtype
        results.append((gradients, y, updated))
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == jnp.float32 else {"rtol": 0.02, "atol": 0.06}
    compare = lambda a, b: np.testing.assert_allclose(  # noqa: E731
        a.astype(jnp.float32), b.astype(jnp.float32), **close
    )
    jax.tree.map(compare, *results)


def test_initial_variables_are_those_of_linen():
    """Names, shapes, dtypes and values."""
    x = jnp.zeros((2, 3, 3, 4), jnp.bfloat16)
    ours, linen = (layer.init(jax.random.key(0), x) for layer in _pair(True, jnp.bfloat16, "batch"))
    jax.tree.map(np.testing.assert_array_equal, ours, linen)
    assert jax.tree.map(jnp.result_type, ours) == jax.tree.map(jnp.result_type, linen)


def test_statistics_of_the_global_batch():
    """Split over four devices, the result and the statistics are those of the whole batch."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3, 3, 4)), jnp.float32)
    variables = _variables(4)
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))

    def apply(x, axis_name):
        return _pair(True, axis_name=axis_name)[0].apply(variables, x, mutable=["batch_stats"])

    split = jax.shard_map(
        lambda x: apply(x, "batch"),
        mesh=mesh,
        in_specs=PartitionSpec("batch"),
        out_specs=(PartitionSpec("batch"), PartitionSpec()),
    )
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)  # noqa: E731
    jax.tree.map(close, split(x), apply(x, None))


def test_the_gradient_makes_no_centered_copy():
    """Nothing of the activations' size is subtracted, which linen's does."""
    x = jnp.zeros((4, 8, 8, 16))

    def subtractions(layer):
        variables = layer.init(jax.random.key(0), x)

        def loss(params, x):
            return jnp.sum(layer.apply({**variables, "params": params}, x, mutable=["batch_stats"])[0])

        program = jax.make_jaxpr(jax.grad(loss, (0, 1)))(variables["params"], x)
        return sum(e.primitive.name == "sub" and e.outvars[0].aval.shape == x.shape for e in program.eqns)

    ours, linen = map(subtractions, _pair(True))
    assert ours == 0 < linen
