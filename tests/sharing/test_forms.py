"""Coefficients per channel and residuals: where they start, how they fold, and how a plan writes them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from softshare_jax import sharing
from softshare_jax.sharing import Group, Member, Plan, PlanError
from softshare_jax.sharing.parameters import count

MEMBERS = tuple(map(Member, "abcd"))


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_a_network_with_coefficients_per_channel_starts_as_the_one_without():
    params = {name: random(3, 5, seed=i) for i, name in enumerate("abcd")}
    found = []
    for per_channel in (False, True):
        plan = sharing.by_shape(2, roles=False, per_channel=per_channel)(params)
        variables = sharing.initialize(plan, params, jax.random.key(0))
        found.append((plan, variables))
    assert found[1][1]["coefficients"]["3x5"].shape == (4, 2, 5)
    jax.tree.map(np.testing.assert_array_equal, *(sharing.materialize(*each) for each in found))


@pytest.mark.parametrize("tied", [False, True])
def test_layers_with_parallel_channels_are_one_layer(tied):
    # Three different scales of each channel of two layers; negative ones only if scales are kept.
    kept, scales = random(2, 3, 5), np.abs(random(2, 5, seed=1)) * (1 if tied else [1, -1, 1, -1, 1])
    layers = [kept[0], kept[1], kept[0] * scales[0][None], kept[1] * scales[1][None]]
    params = dict(zip("abcd", layers, strict=True))
    plan = Plan((Group("g", MEMBERS, 4, (3, 5), per_channel=True),))
    variables = sharing.from_dense(plan, params)
    assert sharing.distinct_layers(plan, variables) == {"g": (0, 1, 0, 1)}
    np.testing.assert_allclose(sharing.similarity(plan, variables)["g"][0, 2], 1, rtol=1e-5)
    folded = sharing.fold(plan, variables, 1.0, tied=tied)
    (group,) = folded.plan.groups
    assert (group.templates, group.assignment, group.per_channel) == (2, (0, 1, 0, 1), True)
    np.testing.assert_allclose(sharing.similarity(*folded)["g"][0, 2], 1, rtol=1e-6)
    after = sharing.materialize(*folded)
    means = [(layers[i] + layers[i + 2]) / 2 for i in (0, 1, 0, 1)]
    for name, layer, mean in zip("abcd", layers, means, strict=True):
        np.testing.assert_allclose(after[name], mean if tied else layer, rtol=1e-4, atol=1e-5)
    # The plain form needs a template for each layer.
    plain = Plan((Group("g", MEMBERS, 4, (3, 5)),))
    assert sharing.fold(plain, sharing.from_dense(plain, params), 1.0).plan == plain


def test_channels_of_opposite_sign_do_not_merge_if_layers_become_equal():
    layer = random(3, 4)
    params = {"a": layer, "b": layer * jnp.array([[1.0, -1, 1, -1]]), "c": layer, "d": -layer}
    plan = Plan((Group("g", MEMBERS, 4, (3, 4), per_channel=True),))
    variables = sharing.from_dense(plan, params)
    assert sharing.fold(plan, variables).plan.groups[0].assignment == (0, 0, 0, 0)
    assert sharing.fold(plan, variables, tied=True).plan.groups[0].assignment == (0, 1, 0, 2)


def test_the_penalty_turns_coefficients_and_keeps_their_norms():
    plan = Plan((Group("g", MEMBERS, 2, (3, 5), per_channel=True),))
    alpha = random(4, 2, 5)
    variables = {"templates": {"g": random(2, 3, 5)}, "coefficients": {"g": alpha}}
    gradient = jax.grad(lambda v: sharing.recurrence_penalty(plan, v))(variables)["coefficients"]["g"]
    np.testing.assert_allclose(jnp.sum(alpha * gradient, axis=1), 0, atol=1e-5)
    assert np.abs(gradient).min(axis=1).max() > 1e-3


def test_partitioned_weights_keep_their_axes():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            init = nn.with_partitioning(nn.initializers.lecun_normal(), ("in", "out"))
            for i in range(3):
                x = nn.Dense(4, kernel_init=init, name=f"layer_{i}")(x)
            return x

    model = sharing.SoftShare(Net(), sharing.by_shape(2, per_channel=True))
    variables = model.init(jax.random.key(0), jnp.ones((1, 4)))
    assert variables["templates"]["4x4"].names == (None, "in", "out")
    assert variables["coefficients"]["4x4"].shape == (3, 2, 4)
    assert model.apply(variables, jnp.ones((1, 4))).shape == (1, 4)


def test_rules_take_options_by_group():
    params = {f"{name}_{i}": jnp.ones((2, 2)) for name in "ab" for i in range(2)}
    patterns = {"a": r"a_\d", "b": r"b_\d"}
    plan = sharing.by_regex(patterns, per_channel={"b": True}, rank={"a": 2})(params)
    assert [(group.per_channel, group.rank) for group in plan.groups] == [(False, 2), (True, 0)]
    with pytest.raises(PlanError, match="there is no group 'c', the groups are a, b"):
        sharing.by_regex(patterns, per_channel={"c": True})(params)


def test_json_has_an_option_only_if_the_plan_uses_it():
    for option in ({"per_channel": True}, {"rank": 2}):
        used = Plan((Group("g", MEMBERS, 2, (3, 5), **option),))
        values = json.loads(used.to_json())
        assert values["version"] == 4
        assert option.items() <= values["groups"][0].items()
        assert Plan.from_json(used.to_json()) == used
    chosen = Plan((Group("g", MEMBERS, np.int64(2), (3, 5), rank=np.int64(1)),))  # as computed with NumPy
    assert Plan.from_json(chosen.to_json()) == chosen
    plain = json.loads(Plan((Group("g", MEMBERS, 2, (3, 5)),)).to_json())
    assert plain["version"] == 1
    assert not {"per_channel", "rank"} & plain["groups"][0].keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (), "per_channel": True}, "group 'g' shares scalars, which have no channels"),
        ({"shape": (2, 2, 5), "rank": 5}, r"asks for residuals of rank 5: choose from 0 to 4"),
        ({"shape": (5,), "rank": 0.5}, "rank is a whole number, not 0.5"),
        ({"shape": (5,), "rank": -1}, r"rank -1: choose from 0 to 1"),
        ({"shape": (3, 5), "rank": 1, "assignment": (0, 0, 0, 0)}, "an assignment and residuals"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(PlanError, match=message):
        Group("g", MEMBERS, 1, **options)


def relaxed(seed=0):
    """Returns a loop of one template whose four layers have residuals of rank 1."""
    plan = Plan((Group("g", MEMBERS, 1, (3, 5), rank=1),))
    variables = {
        "templates": {"g": random(1, 3, 5, seed=seed)},
        "coefficients": {"g": random(4, 1, seed=seed + 1)},
        "residuals": {"g": {"left": random(4, 3, 1, seed=seed + 2), "right": random(4, 1, 5, seed=seed + 3)}},
    }
    return plan, variables


def test_a_network_with_residuals_starts_as_the_one_without():
    params = {name: random(3, 5, seed=i) for i, name in enumerate("abcd")}
    plain, relaxed = (
        sharing.initialize(sharing.by_shape(2, roles=False, rank=rank)(params), params, jax.random.key(0))
        for rank in (0, 2)
    )
    assert "residuals" not in plain
    assert jax.tree.map(jnp.shape, relaxed["residuals"]) == {"3x5": {"left": (4, 3, 2), "right": (4, 2, 5)}}
    for name in ("templates", "coefficients"):
        jax.tree.map(np.testing.assert_array_equal, plain[name], relaxed[name])
    assert not relaxed["residuals"]["3x5"]["left"].any()
    assert np.abs(relaxed["residuals"]["3x5"]["right"]).min() > 0
    assert count(relaxed) == (2 * 15 + 4 * 2 + 4 * 2 * (3 + 5), 0)
    mask = sharing.decay_mask(relaxed)
    assert mask["residuals"] == {"3x5": {"left": True, "right": True}}
    assert mask["coefficients"] == {"3x5": False}


def test_a_layer_that_equals_another_with_its_residual_takes_it():
    plan, variables = relaxed()
    # Layer 2 is -2 times layer 0, in other factors. The rest is distinct, so one template cannot do alone.
    alpha, factors = variables["coefficients"]["g"], variables["residuals"]["g"]
    left, right = (
        factors[side].at[2].set(factors[side][0] * s) for side, s in (("left", 0.5), ("right", -4.0))
    )
    variables |= {
        "coefficients": {"g": alpha.at[2].set(-2 * alpha[0])},
        "residuals": {"g": {"left": left, "right": right}},
    }
    folded = sharing.fold(plan, variables, 0.9999)
    assert folded.plan == plan
    assert sharing.distinct_layers(*folded) == {"g": (0, 1, 0, 3)}
    found, expected = sharing.materialize(*folded), sharing.materialize(plan, variables)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)


def test_a_group_that_becomes_a_loop_has_no_residuals():
    plan, variables = relaxed()
    same = {side: jnp.repeat(x[:1], 4, axis=0) for side, x in variables["residuals"]["g"].items()}
    variables |= {"coefficients": {"g": jnp.ones((4, 1))}, "residuals": {"g": same}}
    folded = sharing.fold(plan, variables)
    (group,) = folded.plan.groups
    assert (group.templates, group.assignment, group.rank) == (1, (0, 0, 0, 0), 0)
    assert "residuals" not in folded.variables
    found, expected = sharing.materialize(*folded), sharing.materialize(plan, variables)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


def test_layers_are_compared_with_their_residuals():
    plan, variables = relaxed()
    assert "4 layers of 3×5 share 1 template with residuals of rank 1" in repr(plan)
    assert sharing.similarity(plan, variables, "coefficients")["g"].min() > 0.999
    assert sharing.similarity(plan, variables)["g"].min() < 0.9
    assert sharing.distinct_layers(plan, variables) == {"g": (0, 1, 2, 3)}


def test_a_loop_of_layers_with_residuals_runs_longer():
    plan, variables = relaxed()
    # Layers 0 and 1 alternate.
    rows = np.array([0, 1, 0, 1])
    variables = {
        **variables,
        **{name: jax.tree.map(lambda x: x[rows], variables[name]) for name in ("coefficients", "residuals")},
    }
    shapes = {name: jax.ShapeDtypeStruct((3, 5), jnp.float32) for name in "abcdef"}
    longer = sharing.lengthen(plan, variables, sharing.by_regex({"g": "[a-f]"}), shapes)
    assert longer.plan.groups[0].rank == 1
    before, after = sharing.materialize(plan, variables), sharing.materialize(*longer)
    for new, old in zip("abcdef", "ababab", strict=True):
        np.testing.assert_array_equal(after[new], before[old])


def test_residuals_that_are_missing():
    plan, variables = relaxed()
    with pytest.raises(PlanError, match="the variables have no residuals of group 'g'"):
        sharing.materialize(plan, {name: variables[name] for name in ("templates", "coefficients")})


def test_a_model_may_have_a_collection_with_the_name_of_residuals():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            seen = self.variable("residuals", "seen", lambda: jnp.zeros(()))
            for i in range(2):
                x = nn.Dense(4, name=f"layer_{i}")(x)
            return x + seen.value

    model = sharing.SoftShare(Net(), sharing.by_shape(1))
    variables = model.init(jax.random.key(0), jnp.ones((1, 4)))
    assert variables["residuals"] == {"seen": 0}
    assert model.apply(variables, jnp.ones((1, 4))).shape == (1, 4)
