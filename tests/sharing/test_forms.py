"""Coefficients per channel: where they start, how they fold, and how a plan writes them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from softshare_jax import sharing
from softshare_jax.sharing import Group, Member, Plan, PlanError

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
    plan = sharing.by_regex(patterns, per_channel={"b": True})(params)
    assert [group.per_channel for group in plan.groups] == [False, True]
    with pytest.raises(PlanError, match="there is no group 'c', the groups are a, b"):
        sharing.by_regex(patterns, per_channel={"c": True})(params)


def test_json_has_an_option_only_if_the_plan_uses_it():
    used = Plan((Group("g", MEMBERS, 2, (3, 5), per_channel=True),))
    values = json.loads(used.to_json())
    assert (values["version"], values["groups"][0]["per_channel"]) == (4, True)
    assert Plan.from_json(used.to_json()) == used
    plain = json.loads(Plan((Group("g", MEMBERS, 2, (3, 5)),)).to_json())
    assert plain["version"] == 1
    assert "per_channel" not in plain["groups"][0]


def test_scalars_have_no_channels():
    with pytest.raises(PlanError, match="group 'g' shares scalars, which have no channels"):
        Group("g", MEMBERS, 1, (), per_channel=True)
