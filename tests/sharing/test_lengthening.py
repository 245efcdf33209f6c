"""Loops that run more often: against a Python loop over the layers of the network as it was."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given

from softshare_jax import sharing
from softshare_jax.sharing import Group, Loop, Member, Plan, PlanError, find_loops, format_loops, unroll

RULE = sharing.by_regex({"body": r"layer_\d+"})


def dense(layers):
    """Returns the shapes of an unshared network's parameters."""
    shape = jax.ShapeDtypeStruct((3, 3), jnp.float32)
    return {"head": shape, **{f"layer_{i}": shape for i in range(layers)}}


def net(order, assigned=True, scalars=None, seed=0):
    """Returns a folded network whose layers use templates in this order."""
    random = np.random.default_rng(seed)
    k, layers = max(order) + 1, len(order)
    members = tuple(Member(f"layer_{i}") for i in range(layers))
    group = Group("body", members, k, (3, 3), tuple(order) if assigned else None)
    scalars = np.ones(layers) if scalars is None else scalars
    variables = {
        "params": {"head": random.normal(size=(3, 3))},
        "templates": {"body": random.normal(size=(k, 3, 3))},
        "coefficients": {"body": np.eye(k)[list(order)] * np.asarray(scalars)[:, None]},
        "batch_stats": {"count": np.ones(1)},
    }
    return Plan((group,)), jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), variables)


def weights(plan, variables):
    """Returns the weights of the layers in the order in which they run, ``[L, 3, 3]``."""
    params = sharing.materialize(plan, variables)
    assert set(params) == set(dense(plan.groups[0].layers))
    return np.stack([params[member.path] for member in plan.groups[0].members])


def run(plan, variables):
    """Runs a network of all layers and its head on one input."""
    params = sharing.materialize(plan, variables)
    x = jnp.ones(3)
    for member in plan.groups[0].members:
        x = jnp.tanh(params[member.path] @ x)
    return np.asarray(params["head"] @ x)


def relabel(order):
    """Returns an order with its templates numbered by their first use."""
    seen: dict[int, int] = {}
    return [seen.setdefault(item, len(seen)) for item in order]


@st.composite
def orders(draw):
    """Draws an order of layers with loops: pieces of layers, each repeated."""
    pieces = draw(st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=3), st.integers(1, 4))))
    order = [layer for body, times in pieces for layer in body * times]
    return relabel([*order, 4, 4][:14])


@given(orders(), st.integers(0, 3), st.booleans(), st.integers(0, 99))
def test_the_network_is_a_python_loop_that_runs_longer(order, turns, assigned, seed):
    scalars = np.random.default_rng(seed).uniform(0.5, 1.5, len(order))
    plan, variables = net(order, assigned, scalars, seed)
    # By hand: the places of each outermost loop's last turn run again and again.
    steps, start, places = find_loops(order), 0, []
    for step in steps:
        length = len(unroll([step]))
        inside = list(range(start, start + length))
        if isinstance(step, Loop):
            inside += inside[-len(unroll(step.body)) :] * turns
        places += inside
        start += length
    longer = sharing.lengthen(plan, variables, RULE, dense(len(places)))
    np.testing.assert_array_equal(weights(*longer), weights(plan, variables)[places])
    x, before = jnp.ones(3), weights(plan, variables)
    for place in places:
        x = jnp.tanh(before[place] @ x)
    np.testing.assert_array_equal(run(*longer), np.asarray(variables["params"]["head"] @ x))
    found = find_loops(sharing.distinct_layers(*longer)["body"])
    assert relabel(unroll(found)) == relabel(order[place] for place in places)
    assert longer.variables["batch_stats"] is variables["batch_stats"]
    assert (longer.plan.groups[0].assignment is None) is not assigned
    back = sharing.shorten(*longer, RULE, dense(len(order)))
    assert back.plan == plan
    jax.tree.map(np.testing.assert_array_equal, back.variables, variables)


@given(orders(), st.booleans())
def test_by_no_turns_it_keeps_every_bit(order, assigned):
    plan, variables = net(order, assigned, np.linspace(0.3, 1.7, len(order)))
    for change in (sharing.lengthen, sharing.shorten):
        same = change(plan, variables, RULE, dense(len(order)))
        assert same.plan == plan
        jax.tree.map(np.testing.assert_array_equal, same.variables, variables)


@pytest.mark.parametrize(
    ("order", "layers", "text"),
    [
        ([0] * 20, 80, "(1)×80"),
        ([0, 1, 2, 3, 2, 3, 2, 3, 2, 3], 26, "1 2 (3 4)×12"),
        ([0, 0, 1, 0, 0, 1, 2], 13, "((1)×2 2)×4 3"),
        ([0, 0, 1, 1], 10, "(1)×5 (2)×5"),
        ([0, 1, 0, 1, 0], 9, "(1 2)×4 1"),
    ],
)
def test_loops_get_more_turns_and_lose_them_again(order, layers, text):
    plan, variables = net(order, scalars=np.linspace(1, 2, len(order)))
    longer = sharing.lengthen(plan, variables, RULE, dense(layers))
    assert format_loops(find_loops(relabel(sharing.distinct_layers(*longer)["body"]))) == text
    back = sharing.shorten(*longer, RULE, dense(len(order)))
    assert back.plan == plan
    jax.tree.map(np.testing.assert_array_equal, back.variables, variables)


def test_under_jit():
    plan, variables = net([0, 1, 1, 1])
    jitted = jax.jit(lambda v: sharing.lengthen(plan, v, RULE, dense(9)).variables)
    expected = sharing.lengthen(plan, variables, RULE, dense(9)).variables
    jax.tree.map(np.testing.assert_array_equal, jitted(variables), expected)


@pytest.mark.parametrize(
    ("change", "order", "layers", "message"),
    [
        (sharing.lengthen, [0, 1, 2], 6, r"has 3 layers and no loops \(1 2 3\), so it cannot have 6"),
        (sharing.lengthen, [0, 1, 1, 1], 3, r"has 4 layers \(1 \(2\)×3\).* can make 4 \+ 1n of them, not 3"),
        (sharing.lengthen, [0, 1, 0, 1], 7, r"can make 4 \+ 2n of them, not 7"),
        (sharing.shorten, [0, 1, 1, 1], 6, r"can make 4 - 1n, n up to 2 of them, not 6"),
        (sharing.shorten, [0, 0, 1, 1, 1], 2, r"can make 5 - 2n, n up to 1 of them, not 2"),
    ],
)
def test_numbers_of_layers_that_loops_do_not_make(change, order, layers, message):
    with pytest.raises(PlanError, match=message):
        change(*net(order), RULE, dense(layers))


def test_a_network_of_another_kind():
    params = {f"layer_{i}": jax.ShapeDtypeStruct((4, 4), jnp.float32) for i in range(6)}
    with pytest.raises(PlanError, match=r"has the groups body \(4, 4\), and this one has body \(3, 3\)"):
        sharing.lengthen(*net([0, 0, 0]), RULE, params)


class Normed(nn.Module):
    depth: int
    width: int = 3

    @nn.compact
    def __call__(self, x):
        for i in range(self.depth):
            x = nn.Dense(self.width, use_bias=False, name=f"layer_{i}")(x)
            x = nn.LayerNorm(name=f"norm_{i}")(x)
        return x


def test_private_parameters_of_every_layer_are_named():
    x = jnp.ones((1, 3))
    shallow, deep = (Normed(depth).init(jax.random.key(0), x)["params"] for depth in (4, 6))
    kernels = sharing.by_regex({"body": r"layer_\d+/kernel"})
    folded = sharing.fold(kernels(shallow), sharing.from_dense(kernels(shallow), shallow), 0.0)
    with pytest.raises(
        PlanError, match=r"norm_4/bias, norm_4/scale, norm_5/bias and 1 more are not shared.*: share them too"
    ):
        sharing.lengthen(*folded, kernels, deep)
    # Shared, they loop as well.
    everything = sharing.by_regex(
        {"body": r"layer_\d+/kernel", "scale": r"norm_\d+/scale", "bias": r"norm_\d+/bias"}
    )
    plan = everything(shallow)
    folded = sharing.fold(plan, sharing.from_dense(plan, shallow), 0.0)
    longer = sharing.lengthen(*folded, everything, deep)
    params = sharing.materialize(*folded)
    y = Normed(4).apply({"params": params}, x)
    last = {"layer_0": params["layer_3"], "norm_0": params["norm_3"]}
    for _ in range(2):
        y = Normed(1).apply({"params": last}, y)
    np.testing.assert_allclose(
        Normed(6).apply({"params": sharing.materialize(*longer)}, x), y, rtol=1e-5, atol=1e-6
    )


def test_a_tree_of_lists_and_stacks():
    def params(layers):
        return [{"stack": jnp.ones((layers, 2, 2))}, [jnp.ones(2)] * layers, jnp.zeros(5)]

    def rule(tree):
        return sharing.by_regex({"s": "0/stack", "v": r"1/\d+"}, stacked=".*/stack")(tree)

    plan = rule(params(3))
    folded = sharing.fold(plan, sharing.from_dense(plan, params(3)))
    longer = sharing.lengthen(*folded, rule, params(7))
    made = sharing.materialize(*longer)
    assert jax.tree.structure(made) == jax.tree.structure(params(7))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), made, params(7))
    assert isinstance(longer.variables["params"][1], list)
