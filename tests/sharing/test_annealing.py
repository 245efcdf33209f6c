import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softshare_jax import sharing
from tests.sharing.strategies import shared
from tests.sharing.weights import columns, layer_weights, mixtures


@given(shared(), st.floats(0, 1))
def test_a_fraction_of_the_rank_k_residual_is_removed(case, fraction):
    plan, variables = case
    sizes = {g.name: 1 for g in plan.groups}
    annealed = sharing.anneal(plan, variables, sizes, fraction)
    before, after = (layer_weights(plan, sharing.materialize(plan, v)) for v in (variables, annealed))
    for group in plan.groups:
        old = columns(group, mixtures(group, variables)).transpose(2, 0, 1)
        change = columns(group, after[group.name] - before[group.name]).transpose(2, 0, 1)
        for rows, found in zip(old, old + change, strict=True):
            u, s, vt = np.linalg.svd(rows, full_matrices=False)
            if len(s) > 1 and s[1] > 0.99 * s[0]:
                continue  # rounding decides which direction comes first
            best = s[0] * np.outer(u[:, 0], vt[0])
            expected = best + (1 - fraction) * (rows - best)
            np.testing.assert_allclose(found, expected, atol=1e-2 * s[0])


@given(shared())
def test_at_the_end_resizing_loses_nothing(case):
    plan, variables = case
    sizes = {g.name: max(1, g.templates - 1) for g in plan.groups}
    annealed = sharing.anneal(plan, variables, sizes, 1.0)
    small_plan, small = sharing.resize(plan, annealed, sizes)
    a, b = sharing.materialize(plan, annealed), sharing.materialize(small_plan, small)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4), a, b)


@given(shared(), st.integers(2, 5))
def test_without_gradients_the_residual_fades_linearly(case, steps):
    plan, variables = case
    sizes = {g.name: 1 for g in plan.groups}
    trainable = {name: variables[name] for name in plan.collections}
    optimizer = optax.chain(optax.sgd(0.1), sharing.anneal_to(plan, sizes, steps))
    zeros, state = jax.tree.map(jnp.zeros_like, trainable), optimizer.init(trainable)
    for step in range(steps + 1):
        expected = sharing.anneal(plan, variables, sizes, step / steps)
        for name, alpha in trainable["coefficients"].items():
            np.testing.assert_allclose(alpha, expected["coefficients"][name], atol=1e-3)
        updates, state = optimizer.update(zeros, state, trainable)
        trainable = optax.apply_updates(trainable, updates)


@given(shared())
def test_templates_stay_and_gradients_are_finite(case):
    plan, variables = case
    sizes = {g.name: 1 for g in plan.groups}

    def loss(v):
        annealed = sharing.anneal(plan, v, sizes, 0.5)
        return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(sharing.materialize(plan, annealed)))

    gradients = jax.jit(jax.grad(loss))(variables)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))
    annealed = sharing.anneal(plan, variables, sizes, 0.5)
    jax.tree.map(np.testing.assert_array_equal, annealed["templates"], variables["templates"])


def test_groups_that_are_not_named_do_not_change():
    members = [tuple(sharing.Member(f"{name}_{i}") for i in range(3)) for name in "ab"]
    plan = sharing.Plan(tuple(sharing.Group(n, m, 3, (4,)) for n, m in zip("ab", members, strict=True)))
    random = np.random.default_rng(0)
    variables = {
        "templates": {name: jnp.asarray(random.normal(size=(3, 4)), jnp.float32) for name in "ab"},
        "coefficients": {name: jnp.asarray(random.normal(size=(3, 3)), jnp.float32) for name in "ab"},
    }
    annealed = sharing.anneal(plan, variables, {"a": 1}, 1.0)["coefficients"]
    np.testing.assert_array_equal(annealed["b"], variables["coefficients"]["b"])
    assert np.linalg.matrix_rank(annealed["a"], tol=1e-4) == 1
    with pytest.raises(sharing.PlanError, match="there is no group 'c'"):
        sharing.anneal(plan, variables, {"c": 1}, 1.0)


def test_a_folded_group_has_nothing_to_anneal():
    params = {f"l{i}": jnp.arange(3.0) + i % 3 for i in range(6)}
    plan = sharing.by_regex({"g": r"l\d"})(params)
    folded = sharing.fold(plan, sharing.from_dense(plan, params), 0.999)
    assert folded.plan.groups[0].templates == 3
    with pytest.raises(sharing.PlanError, match="group 'g' is folded"):
        sharing.anneal(*folded, {"g": 2}, 1.0)
    same = sharing.anneal(*folded, {"g": 3}, 1.0)
    np.testing.assert_array_equal(same["coefficients"]["g"], folded.variables["coefficients"]["g"])
