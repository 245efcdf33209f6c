"""Slices as members: the rest of a leaf, and contradictory slices."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given

from softshare_jax import sharing
from softshare_jax.sharing import Group, Member, Plan, PlanError, Slice, by_regex
from tests.sharing.strategies import shared

# Three kernels that read 2, 3 and 4 channels; all read the same first 2.
PARAMS = {f"layer_{i}": {"kernel": jnp.arange(3.0 * (2 + i)).reshape(3, 2 + i) + 10 * i} for i in range(3)}
RULE = by_regex({"g": r"layer_\d/kernel"}, slices={"g": Slice(axis=1, start=0, stop=2)})


def pair(first, second, *more, shape=(2,)):
    return Plan((Group("g", (first, second, *more), 1, shape),))


def test_the_rest_of_a_leaf_is_private():
    plan = RULE(PARAMS)
    variables = sharing.initialize(plan, PARAMS, jax.random.key(0), sharing.identity)
    assert jax.tree.map(jnp.shape, variables["params"]) == {
        "layer_1": {"kernel": (3, 1)},
        "layer_2": {"kernel": (3, 2)},
    }
    np.testing.assert_array_equal(
        variables["params"]["layer_2"]["kernel"], PARAMS["layer_2"]["kernel"][:, 2:]
    )
    np.testing.assert_array_equal(variables["templates"]["g"][1], PARAMS["layer_1"]["kernel"][:, :2])
    jax.tree.map(np.testing.assert_array_equal, sharing.materialize(plan, variables), PARAMS)


@given(shared())
def test_every_number_is_private_or_shared_once(case):
    plan, variables = case
    params = sharing.materialize(plan, variables)
    marked = jax.tree.map(lambda leaf: np.arange(leaf.size, dtype=np.float32).reshape(leaf.shape), params)
    full = plan.with_templates({group.name: group.layers for group in plan.groups})
    parts = sharing.initialize(full, marked, jax.random.key(0), sharing.identity)
    numbers = [np.ravel(leaf) for name in ("params", "templates") for leaf in jax.tree.leaves(parts[name])]
    expected = [np.ravel(leaf) for leaf in jax.tree.leaves(marked)]
    np.testing.assert_array_equal(*(np.sort(np.concatenate(found)) for found in (numbers, expected)))
    jax.tree.map(np.testing.assert_array_equal, sharing.materialize(full, parts), marked)


def test_parameters_that_stay_private_decay():
    variables = sharing.initialize(RULE(PARAMS), PARAMS, jax.random.key(0))
    mask = sharing.decay_mask(variables)
    assert mask["params"] == {f"layer_{i}": {"kernel": True} for i in (1, 2)}
    assert mask["coefficients"] == {"g": False}


def test_a_budget_counts_the_rest_of_a_leaf():
    variables = sharing.initialize(RULE(PARAMS), PARAMS, jax.random.key(0))
    # Private 3 + 6, one template of 6, and three coefficients.
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 9
    assert sharing.by_budget(RULE, 18)(PARAMS).templates == {"g": 1}
    with pytest.raises(PlanError, match="budget of 17 is too small: one template a group takes 18"):
        sharing.by_budget(RULE, 17)(PARAMS)


def test_in_other_pytrees_a_leaf_keeps_its_place():
    params = [PARAMS["layer_0"]["kernel"], (PARAMS["layer_1"]["kernel"],)]
    part = Slice(1, 0, 2)
    plan = pair(Member("0", slice=part), Member("1/0", slice=part), shape=(3, 2))
    variables = sharing.initialize(plan.with_templates(2), params, jax.random.key(0), sharing.identity)
    assert jax.tree.map(jnp.shape, variables["params"]) == [None, ((3, 1),)]
    jax.tree.map(
        np.testing.assert_array_equal, sharing.materialize(plan.with_templates(2), variables), params
    )


def test_a_linen_model_with_partitioned_weights():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for i in range(3):
                init = nn.with_partitioning(nn.initializers.lecun_normal(), ("in", "out"))
                x = jnp.concatenate([x, nn.Dense(2, kernel_init=init, name=f"layer_{i}")(x)], axis=-1)
            return x

    x = jnp.ones((1, 4))
    rule = by_regex({"g": r"layer_\d/kernel"}, templates=2, slices={"g": Slice(0, 0, 4)})
    model = sharing.SoftShare(Net(), rule)
    variables = model.init(jax.random.key(0), x)
    assert variables["params"]["layer_0"]["kernel"].value is None
    assert variables["params"]["layer_2"]["kernel"].names == ("in", "out")
    assert jnp.shape(variables["params"]["layer_2"]["kernel"].value) == (4, 2)
    assert variables["templates"]["g"].names == (None, "in", "out")
    dense = sharing.to_dense(rule(Net().init(jax.random.key(0), x)["params"]), variables)
    np.testing.assert_allclose(model.apply(variables, x), Net().apply(dense, x), rtol=1e-5)


def test_json_has_slices_only_if_the_plan_has():
    plan = RULE(PARAMS)
    assert Plan.from_json(plan.to_json()) == plan
    member = json.loads(plan.to_json())["groups"][0]["members"][2]
    assert member == {"path": "layer_2/kernel", "index": None, "slice": {"axis": 1, "start": 0, "stop": 2}}
    without = pair(Member("a"), Member("b", 3))
    assert json.loads(without.to_json()) == {
        "version": 1,
        "groups": [
            {
                "name": "g",
                "members": [{"path": "a", "index": None}, {"path": "b", "index": 3}],
                "templates": 1,
                "shape": [2],
                "assignment": None,
            }
        ],
    }
    with pytest.raises(PlanError, match="newer version"):
        Plan.from_json(plan.to_json().replace('"version": 2', '"version": 5'))


def test_names():
    assert str(Member("a/b", 1, Slice(0, 2, 3))) == "a/b[1, 2:3]"
    assert str(Member("a", slice=Slice(1, 2, 3))) == "a[:, 2:3]"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Slice(0, 2, 2), "slice 2:2 of axis 0 is not valid"),
        (lambda: Slice(0, -1, 2), "slice -1:2 of axis 0 is not valid"),
        (lambda: Slice(-1, 0, 2), "slice 0:2 of axis -1 is not valid"),
        (
            lambda: pair(Member("a", slice=Slice(0, 0, 2)), Member("a", slice=Slice(0, 1, 3))),
            r"slices \[0:2\] and \[1:3\] of a overlap",
        ),
        (
            lambda: pair(Member("a", slice=Slice(0, 0, 2)), Member("a", slice=Slice(1, 0, 2)), shape=(2, 2)),
            "a is sliced along several axes",
        ),
        (
            lambda: pair(Member("a", slice=Slice(0, 0, 2)), Member("a")),
            "a is shared as a whole and as a slice",
        ),
        (
            lambda: pair(Member("a", 0, Slice(0, 0, 2)), Member("a", 1, Slice(0, 1, 3))),
            "the rows of a are sliced in different places",
        ),
        (
            lambda: pair(Member("a", slice=Slice(0, 0, 2)), Member("b", slice=Slice(0, 0, 3))),
            r"weights of shape \(2,\), and b\[0:3\] has another shape",
        ),
        (lambda: pair(Member("a", slice=Slice(1, 0, 2)), Member("b")), "another shape"),
        (
            lambda: pair(Member("a", 0, Slice(0, 0, 2)), Member("a", 1)),
            "the rows of a are sliced in different places",
        ),
    ],
)
def test_slices_that_contradict_each_other(make, message):
    with pytest.raises(PlanError, match=message):
        make()


def test_slices_that_do_not_fit():
    plan = RULE(PARAMS)
    narrow = {**PARAMS, "layer_1": {"kernel": jnp.ones((3, 1))}}
    with pytest.raises(PlanError, match=r"layer_1/kernel has shape \(3, 1\) and is sliced by \[:, 0:2\]"):
        plan(narrow)
    with pytest.raises(PlanError, match=r"shares \[:, 0:2\] of each layer, and layer_1/kernel has shape"):
        RULE(narrow)
    with pytest.raises(PlanError, match="there is no group 'h', the groups are g"):
        by_regex({"g": ".*"}, slices={"h": Slice(0, 0, 1)})(PARAMS)


def test_a_private_part_that_is_missing():
    part = Slice(0, 1, 3)
    plan = pair(Member("a", slice=part), Member("b", slice=part))
    variables = sharing.initialize(plan, {"a": jnp.ones(4), "b": jnp.ones(4)}, jax.random.key(0))
    assert jax.tree.map(jnp.shape, variables["params"]) == {"a": (2,), "b": (2,)}
    with pytest.raises(PlanError, match="private parameter b has length 0 on axis 0"):
        sharing.materialize(plan, {**variables, "params": {"a": jnp.ones(2)}})
