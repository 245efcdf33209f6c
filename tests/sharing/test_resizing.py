"""More templates change no output and all train; fewer approximate best."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softshare_jax import sharing
from tests.sharing.strategies import shared
from tests.sharing.weights import columns, layer_weights, mixtures


def loss(plan, variables):
    """Returns the squared distance of all weights to random targets."""
    random = np.random.default_rng(0)
    leaves = jax.tree.leaves(sharing.materialize(plan, variables))
    return sum(jnp.sum((x - random.normal(size=x.shape).astype(np.float32)) ** 2) for x in leaves)


@settings(max_examples=12)
@given(shared(), st.integers(0, 5))
def test_growth_changes_nothing_and_the_first_step_uses_it(case, more):
    plan, variables = case
    sizes = {g.name: min(g.templates + more, g.layers) for g in plan.groups}
    grown_plan, grown = sharing.resize(plan, variables, sizes)
    before, after = (sharing.materialize(p, v) for p, v in ((plan, variables), (grown_plan, grown)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), before, after)
    gradients = jax.jit(jax.grad(lambda v: loss(grown_plan, v)))(grown)
    for old, new_group in zip(plan.groups, grown_plan.groups, strict=True):
        np.testing.assert_array_equal(
            grown["templates"][old.name][: old.templates], variables["templates"][old.name]
        )
        new = gradients["templates"][old.name][old.templates :]
        assert len(new) == sizes[old.name] - old.templates
        # The first gradient moves every new template.
        assert all(np.linalg.norm(g) > 1e-3 for g in new)
        alpha = columns(new_group, grown["coefficients"][old.name])
        products = np.einsum("lac,lbc->cab", alpha[:, : old.templates], alpha[:, old.templates :])
        np.testing.assert_allclose(products, 0, atol=1e-4)


@given(shared())
def test_shrinking_is_the_best_approximation(case):
    plan, variables = case
    small_plan, small = sharing.resize(plan, variables, 1)
    assert all(g.templates == 1 and g.assignment is None for g in small_plan.groups if g.templates != 1)
    dense, found = (
        layer_weights(p, sharing.materialize(p, v)) for p, v in ((plan, variables), (small_plan, small))
    )
    for group in plan.groups:
        error = np.linalg.norm(dense[group.name] - found[group.name])
        rows = columns(group, mixtures(group, variables)).transpose(2, 0, 1)  # residuals do not change
        values = np.linalg.svd(rows, compute_uv=False)
        np.testing.assert_allclose(error, np.linalg.norm(values[:, 1:]), atol=1e-3)


@given(shared())
def test_there_and_back_again(case):
    plan, variables = case
    larger = sharing.resize(plan, variables, {g.name: g.layers for g in plan.groups})
    plan_again, again = sharing.resize(*larger, {g.name: g.templates for g in plan.groups})
    assert plan_again == plan
    a, b = (sharing.materialize(plan, v) for v in (variables, again))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4), a, b)


@given(shared())
def test_groups_that_keep_their_number_do_not_change(case):
    plan, variables = case
    same_plan, same = sharing.resize(plan, variables, {})
    assert same_plan == plan
    jax.tree.map(np.testing.assert_array_equal, same, variables)


def test_a_folded_group_grows_out_of_its_loop():
    members = tuple(sharing.Member(f"l{i}") for i in range(4))
    plan = sharing.Plan((sharing.Group("g", members, 2, (3,), assignment=(0, 1, 0, 1)),))
    variables = {
        "templates": {"g": jnp.arange(6.0).reshape(2, 3)},
        "coefficients": {"g": jnp.array([[1.0, 0], [0, 1], [2, 0], [0, -1]])},
    }
    grown, more = sharing.resize(plan, variables, 3)
    assert grown.groups[0].assignment is None
    a, b = sharing.materialize(plan, variables), sharing.materialize(grown, more)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), a, b)


def test_a_template_of_low_rank_weights_is_not_dead():
    params = {f"l{i}": jnp.ones((2, 2)) * (i + 1) for i in range(4)}
    plan = sharing.by_shape(templates=3)(params)
    variables = sharing.from_dense(plan, params)
    np.testing.assert_allclose(
        variables["coefficients"]["2x2"].T @ variables["coefficients"]["2x2"], np.eye(3), atol=1e-5
    )
    gradient = jax.grad(lambda v: loss(plan, v))(variables)["templates"]["2x2"]
    assert all(np.linalg.norm(g) > 1e-3 for g in gradient)


def test_mistakes():
    params = {f"l{i}": jnp.ones((2, 2)) for i in range(4)}
    plan = sharing.by_shape(templates=2)(params)
    variables = sharing.from_dense(plan, params)
    with pytest.raises(sharing.PlanError, match="4 layers and asks for 5 templates"):
        sharing.resize(plan, variables, 5)
    with pytest.raises(sharing.PlanError, match="no group 'stage', the groups are 2x2"):
        sharing.resize(plan, variables, {"stage": 2})
