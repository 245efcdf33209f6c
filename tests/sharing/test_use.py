"""The order in which models use their parameters, and rules that use it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from softshare_jax import sharing
from tests.sharing import models


class Net(nn.Module):
    """A model whose names do not sort in the order of use."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        for part in ("encoder", "bottleneck", "decoder"):
            for i in range(2 if part != "bottleneck" else 1):
                x = nn.remat(nn.Dense)(4, name=f"{part}_{i}", dtype=self.dtype)(jax.nn.gelu(x))
        return x


X = jnp.ones((2, 4))
KERNELS = (
    "encoder_0/kernel",
    "encoder_1/kernel",
    "bottleneck_0/kernel",
    "decoder_0/kernel",
    "decoder_1/kernel",
)


def kernels(order):
    return tuple(path for path in order if path.endswith("kernel"))


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_order_of_a_model(jit, dtype):
    net = Net(dtype)
    params = jax.eval_shape(net.init, jax.random.key(0), X)["params"]

    def apply(params):
        # All weights are cast before the first one is used.
        params = jax.tree.map(lambda w: w.astype(dtype), params)
        return net.apply({"params": params}, X)

    order = sharing.order_of_use(jax.jit(apply) if jit else apply, params)
    assert kernels(order) == KERNELS
    assert set(order) == {f"{path}/{leaf}" for path in params for leaf in ("kernel", "bias")}


def test_rules_follow_the_order():
    params = Net().init(jax.random.key(0), X)["params"]
    order = sharing.order_of_use(lambda p: Net().apply({"params": p}, X), params)
    by_name, by_use = (
        sharing.by_regex({"all": ".*kernel"}, order=given)(params).groups[0].members
        for given in (None, order)
    )
    assert tuple(map(str, by_name)) == tuple(sorted(KERNELS))
    assert tuple(map(str, by_use)) == KERNELS
    (group,) = sharing.by_shape(roles=False, order=["decoder_0/kernel"])(params).groups
    # Members that the order does not name come last, by name.
    assert [str(m) for m in group.members] == [
        "decoder_0/kernel",
        *(k for k in sorted(KERNELS) if "er_0/k" not in k or "en" in k),
    ]


def test_loops_conditions_and_operations_on_weights_only():
    params = {name: jnp.ones((3, 3)) for name in "abcdef"}

    def apply(p):
        x = jnp.ones((1, 3))
        both = jnp.concatenate([p["f"], p["e"]])  # used together, when they are applied to x
        x = jax.lax.fori_loop(0, 3, lambda _, x: x @ p["d"], x)
        x = jax.lax.cond(x.sum() > 0, lambda x: x @ p["b"], lambda x: x @ p["c"], x)
        return (x @ both.reshape(2, 3, 3)[0]) + 0.0, p["a"]

    order = sharing.order_of_use(apply, params)
    assert order[0] == "d"
    assert set(order[1:3]) == {"b", "c"}
    assert order[3:] == ("f", "e", "a")


def test_models_of_other_libraries():
    for name in ("nnx transformer by shape", "equinox dense", "a list of dictionaries"):
        case = models.CASES[name]()
        with jax.numpy_rank_promotion("allow"):
            order = sharing.order_of_use(case.apply, case.params)
        assert len(order) == len(set(order)) == len(sharing.tree.leaves(case.params))
        if name.startswith("nnx"):
            used = [path for path in order if path.startswith("attention") and "bias" not in path]
            assert [path.split("/")[1] for path in used] == sorted(path.split("/")[1] for path in used)


class Scanned(nn.Module):
    """Eight layers as one leaf, stacked along an axis."""

    axis: int
    unroll: int = 1

    @nn.compact
    def __call__(self, x):
        layers = nn.scan(
            lambda layer, x: (x + layer(nn.relu(x)), None),
            variable_axes={"params": self.axis},
            split_rngs={"params": True},
            length=8,
            unroll=self.unroll,
        )
        return layers(nn.Dense(8, name="layers"), nn.Dense(8, name="first")(x))[0]


@pytest.mark.parametrize("unroll", [1, 8])
def test_rows_of_another_axis_are_not_layers(unroll):
    rule = sharing.by_shape(2, stacked="layers/.*")
    variables = sharing.SoftShare(Scanned(0, unroll), rule).init(jax.random.key(0), X)
    assert variables["templates"]["8x8"].shape == (2, 8, 8)
    with pytest.raises(
        sharing.PlanError, match="layers/kernel stacks its layers along axis 1, and only rows"
    ):
        sharing.SoftShare(Scanned(1, unroll), rule).init(jax.random.key(0), X)


def test_the_condition_of_a_loop():
    def model(params, x):
        x = x + params["d"]
        x = jax.lax.while_loop(
            lambda x: jnp.sum(x) < jnp.sum(params["c"]), lambda x: x + jnp.exp(params["b"]), x
        )
        return x * params["a"]

    params = {name: jnp.full(3, 5.0) for name in "abcd"}
    assert sharing.order_of_use(lambda params: model(params, jnp.ones(3)), params) == ("d", "c", "b", "a")
