"""Parameter trees of any structure, any key type and any float type."""

import collections
import re
import string

import equinox as eqx
import flax.linen as nn
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.core import FrozenDict
from hypothesis import given

from softshare_jax import sharing
from softshare_jax.sharing import tree as trees

FLOATS = ("float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")
SHAPES = ((2, 3), (4, 1), (2, 2, 2))
TEXT = st.text(string.ascii_letters + string.digits + "/~_. ", max_size=6)
KEYS = st.one_of(
    TEXT.map(str),
    st.integers(-3, 20),
    st.tuples(st.integers(0, 3), TEXT),
    st.binary(max_size=3),
    st.floats(0, 9, allow_nan=False),
)


class Holder(eqx.Module):
    """An Equinox module that holds a tree, and a field that is not an array."""

    inside: object
    function: object = eqx.field(default=jax.nn.relu)


class NnxHolder(nnx.Module):
    """An NNX module that holds parameters."""

    def __init__(self, arrays):
        self.layers = nnx.List([nnx.Param(array) for array in arrays])


def leaf(draw, kinds):
    shape, dtype = draw(st.sampled_from(kinds))
    return jnp.asarray(np.random.default_rng(draw(st.integers(0, 3))).normal(size=shape), dtype)


@st.composite
def any_tree(draw, kinds, depth=3):
    """Draws a tree of dictionaries, lists, tuples and modules of several libraries.

    Args:
        kinds: shapes and dtypes of its leaves.
        depth: the maximal number of nodes above a leaf.
    """
    if depth == 0:
        return draw(st.sampled_from([{}, (), None])) if draw(st.integers(0, 4)) == 0 else leaf(draw, kinds)
    node = draw(st.sampled_from(["dict", "list", "tuple", "frozen", "ordered", "eqx", "nnx"]))
    if node == "nnx":
        return nnx.state(NnxHolder([leaf(draw, kinds) for _ in range(draw(st.integers(2, 3)))]))
    inner = any_tree(kinds, depth=draw(st.integers(0, depth - 1)))
    if node in ("dict", "frozen", "ordered"):
        # Keys have one type, because jax sorts the keys of a dictionary.
        first = draw(KEYS)
        of_its_type = KEYS.filter(lambda key: type(key) is type(first))
        keys = dict.fromkeys([first, *draw(st.lists(of_its_type, min_size=1, max_size=3))])
        make = {"dict": dict, "frozen": FrozenDict, "ordered": collections.OrderedDict}[node]
        return make({str(key) if node == "frozen" else key: draw(inner) for key in keys})
    children = draw(st.lists(inner, min_size=2, max_size=4))
    return {"list": list, "tuple": tuple, "eqx": Holder}[node](children)


@st.composite
def model_params(draw):
    """Draws parameters with at most two kinds of leaves, so that some are alike."""
    kinds = draw(
        st.lists(st.tuples(st.sampled_from(SHAPES), st.sampled_from(FLOATS)), min_size=1, max_size=2)
    )
    return (
        draw(any_tree(kinds))
        if draw(st.booleans())
        else draw(st.lists(any_tree(kinds), min_size=2, max_size=4))
    )


def random_plan(draw, params):
    """Draws a plan over some leaves that are alike. Without such leaves it has no groups."""
    alike = {}
    for path, array in trees.leaves(params).items():
        alike.setdefault((array.shape, array.dtype), []).append(sharing.Member(path))
    groups = []
    for (shape, _), members in alike.items():
        if len(members) > 1:
            members = draw(st.permutations(members))[: draw(st.integers(2, len(members)))]
            k = draw(st.integers(1, len(members)))
            groups.append(sharing.Group(f"g{len(groups)}", tuple(members), k, shape))
    return sharing.Plan(tuple(groups))


def same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if hasattr(b, "dtype"):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_array_equal(np.asarray(a, np.float64), np.asarray(b, np.float64))
        else:
            assert a is b


@given(st.data())
def test_structure_dtype_and_values_survive(data):
    params = data.draw(model_params())
    plan = random_plan(data.draw, params)
    assert sharing.Plan.from_json(plan.to_json()) == plan
    assert plan(params) is plan
    full = plan.with_templates({group.name: group.layers for group in plan.groups})
    same(
        sharing.materialize(full, sharing.initialize(full, params, jax.random.key(0), sharing.identity)),
        params,
    )
    # With fewer templates values differ, but structure and dtype do not.
    dense = sharing.materialize(plan, sharing.initialize(plan, params, jax.random.key(0)))
    assert jax.tree.structure(dense) == jax.tree.structure(params)
    for path, array in trees.leaves(params).items():
        assert (trees.leaves(dense)[path].dtype, trees.leaves(dense)[path].shape) == (
            array.dtype,
            array.shape,
        )


@given(st.data(), st.sampled_from(FLOATS), st.integers(1, 3), st.booleans())
def test_a_fold_of_equal_layers_is_exact_in_every_dtype(data, dtype, distinct, converted):
    order = data.draw(st.lists(st.integers(0, distinct - 1), min_size=2, max_size=7))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    weights = [jnp.asarray(random.normal(size=(40, 5)), dtype) for _ in range(distinct)]
    params = {"layers": [{"w": weights[i]} for i in order]}
    plan = sharing.by_regex({"all": ".*"})(params)
    variables = sharing.initialize(plan, params, jax.random.key(0), sharing.identity)
    folded = sharing.fold(plan, variables, 0.9)
    same(sharing.materialize(*folded), params)
    first = tuple(map(order.index, order))
    assert sharing.distinct_layers(*folded)["all"] == first
    assert folded.plan.groups[0].templates == len(set(order)) or len(set(order)) == len(order)


LINEN = {f"layer_{i}": {"w": jnp.full((4, 4), i + 1.0), "b": jnp.zeros(4)} for i in range(3)}


def test_private_parameters_of_linen_are_the_remaining_ones():
    params = {
        **LINEN,
        "relu": {},
        "head": {"w": jnp.ones((4, 2))},
        "only": {"inner": {"w": jnp.ones((4, 4))}},
    }
    plan = sharing.by_regex({"g": r"(layer_\d|only/inner)/w"})(params)
    private = sharing.initialize(plan, params, jax.random.key(0))["params"]
    assert jax.tree.map(jnp.shape, private) == {
        **{f"layer_{i}": {"b": (4,)} for i in range(3)},
        "relu": {},
        "head": {"w": (4, 2)},
    }


def test_keys_with_slashes_and_equal_paths_stay_separate():
    params = {"a/b": {"c": jnp.full((2, 2), 1.0)}, "a": {"b/c": jnp.full((2, 2), 2.0)}}
    members = tuple(sharing.Member(keys) for keys in (("a", "b/c"), ("a/b", "c")))
    plan = sharing.Plan((sharing.Group("g", members, 2, (2, 2)),))
    assert [str(member) for member in members] == ["a/b/c", "a/b/c"]
    same(
        sharing.materialize(plan, sharing.initialize(plan, params, jax.random.key(0), sharing.identity)),
        params,
    )


def test_a_private_tree_without_a_place_for_a_layer():
    plan = sharing.by_regex({"g": r"\d"})([jnp.ones((2, 2)), jnp.ones((2, 2))])
    variables = sharing.initialize(plan, [jnp.ones((2, 2))] * 2, jax.random.key(0))
    with pytest.raises(ValueError, match=re.escape("no place for 1: it is list of ['0']")):
        sharing.materialize(plan, {**variables, "params": [None]})


class Partitioned(nn.Module):
    """Dense layers with partitioning metadata, the last three of them scanned."""

    @nn.compact
    def __call__(self, x):
        def dense(name):
            init = nn.with_partitioning(nn.initializers.lecun_normal(), ("in", "out"))
            bias = nn.with_partitioning(nn.initializers.zeros, ("out",))
            return nn.Dense(4, kernel_init=init, bias_init=bias, name=name)

        for i in range(3):
            x = dense(f"layer_{i}")(x)
        return nn.scan(
            lambda layer, x: (layer(x), None),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=3,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )(dense("scanned"), x)[0]


def test_partitioning_metadata():
    x = jnp.ones((1, 4))
    rule = sharing.by_regex({"single": r"layer_\d/kernel", "rows": "scanned/kernel"}, 2, stacked="scanned/.*")
    model, params = sharing.SoftShare(Partitioned(), rule), Partitioned().init(jax.random.key(0), x)["params"]
    variables = model.init(jax.random.key(0), x)
    specs = nn.get_partition_spec(variables)
    spec = jax.sharding.PartitionSpec
    assert specs["templates"] == {"single": spec(None, "in", "out"), "rows": spec(None, "in", "out")}
    assert specs["params"]["layer_0"]["bias"] == spec("out")
    assert specs["params"]["scanned"]["bias"] == spec("layers", "out")
    plan = rule(params)
    for boxed in (variables, sharing.from_dense(plan, params), sharing.resize(plan, variables, 3)[1]):
        k = boxed["coefficients"]["rows"].shape[1]
        dense = sharing.materialize(plan.with_templates(k), boxed)
        assert jax.tree.structure(dense) == jax.tree.structure(params)
    folded = sharing.fold(plan, variables, 0.0)
    assert jax.tree.structure(sharing.materialize(*folded)) == jax.tree.structure(params)
    assert folded.variables["templates"]["rows"].names == (None, "in", "out")
    outputs = [model.apply(v, x) for v in (variables, nn.meta.unbox(variables))]
    np.testing.assert_array_equal(*outputs)


def variables_of(name):
    plan = sharing.by_regex({"g": r"layer_\d/w"}, 2)(LINEN)
    variables = sharing.initialize(plan, LINEN, jax.random.key(0))
    # The model has its own parameter with the collection's name.
    return {**variables, "params": {**variables["params"], "coefficients": {name: jnp.ones(2)}}}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda v: v,
        lambda v: {"generator": v, "critic": v},
        lambda v: (v, [v]),
        lambda v: {"a": FrozenDict(v)},
    ],
)
def test_coefficients_do_not_decay_at_any_depth(wrap):
    weights = wrap(variables_of("own"))
    optimizers = (
        optax.adamw(0.1, weight_decay=0.5, mask=sharing.decay_mask),
        optax.chain(sharing.add_decayed_weights(0.5), optax.scale(-0.1)),
    )
    for optimizer in optimizers:
        zeros = jax.tree.map(jnp.zeros_like, weights)
        updates, _ = optimizer.update(zeros, optimizer.init(weights), weights)
        for path, update in trees.leaves(updates).items():
            name = trees.name(path)
            decays = not name.endswith("coefficients/g")
            before = trees.leaves(weights)[path]
            np.testing.assert_allclose(
                update, -0.05 * before if decays else 0 * before, atol=1e-7, err_msg=name
            )


OPTIMIZERS = {
    "adamw": lambda: optax.adamw(3e-2, weight_decay=1e-2),
    "sgd": lambda: optax.sgd(3e-2, momentum=0.9),
    "noisy": lambda: optax.chain(optax.add_noise(0.1, 0.5, 0), optax.sgd(3e-2)),
    "lion": lambda: optax.lion(1e-2, weight_decay=1e-1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_optimizer_separates_the_layers_of_a_folded_group(name):
    group = sharing.Group("g", tuple(sharing.Member(f"l{i}") for i in range(4)), 2, (3, 3), (0, 1, 0, 1))
    plan, optimizer = sharing.Plan((group,)), OPTIMIZERS[name]()
    random = np.random.default_rng(0)
    weights = {
        "templates": {"g": jnp.asarray(random.normal(size=(2, 3, 3)), jnp.float32)},
        # Coefficients that the assignment leaves out are not zero either.
        "coefficients": {"g": jnp.asarray(random.normal(size=(4, 2)), jnp.float32)},
    }
    targets = random.normal(size=(4, 3, 3))

    def loss(weights):
        dense = sharing.materialize(plan, weights)
        return sum(jnp.sum((dense[f"l{i}"] - targets[i]) ** 2) for i in range(4))

    before, state = loss(weights), optimizer.init(weights)
    for _ in range(20):
        gradient = jax.grad(loss)(weights)
        unused = gradient["coefficients"]["g"][np.arange(4), [1, 0, 1, 0]]
        np.testing.assert_array_equal(unused, 0)
        updates, state = optimizer.update(gradient, state, weights)
        weights = optax.apply_updates(weights, updates)
    assert loss(weights) < before
    assert sharing.distinct_layers(plan, weights) == {"g": (0, 1, 0, 1)}
    np.testing.assert_allclose(sharing.similarity(plan, weights)["g"][0, 2], 1, rtol=1e-6)
    rows = np.stack([np.ravel(sharing.materialize(plan, weights)[f"l{i}"]) for i in (0, 2)])
    assert np.linalg.matrix_rank(rows, tol=1e-5) == 1
