import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softshare_jax import sharing


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31))
def test_orthogonal_rows_or_columns(layers, k, seed):
    alpha = sharing.orthogonal(jax.random.key(seed), layers, k)
    product = alpha @ alpha.T if k >= layers else alpha.T @ alpha
    np.testing.assert_allclose(product, np.eye(min(layers, k)), atol=1e-5)


def test_identity_and_sparse():
    key = jax.random.key(0)
    np.testing.assert_array_equal(sharing.identity(key, 3, 3), np.eye(3))
    np.testing.assert_array_equal(sharing.sparse(key, 5, 2), np.eye(2)[[0, 1, 0, 1, 0]])
    with pytest.raises(sharing.PlanError, match="one template per layer"):
        sharing.identity(key, 3, 2)


@pytest.fixture
def case():
    keys = jax.random.split(jax.random.key(1), 6)
    params = {
        f"layer_{i}": {"kernel": jax.random.normal(k, (3, 4)), "bias": jnp.ones(4)}
        for i, k in enumerate(keys)
    }
    return sharing.by_regex({"g": r".*/kernel"}, templates=2)(params), params


def test_templates_are_the_first_layers_own_weights(case):
    plan, params = case
    variables = sharing.initialize(plan, params, jax.random.key(0))
    for j in range(2):
        np.testing.assert_array_equal(variables["templates"]["g"][j], params[f"layer_{j}"]["kernel"])
    assert variables["coefficients"]["g"].shape == (6, 2)
    assert jax.tree.map(jnp.shape, variables["params"]) == {f"layer_{i}": {"bias": (4,)} for i in range(6)}


def test_identity_starts_as_the_unshared_network(case):
    _, params = case
    plan = sharing.by_regex({"g": r".*/kernel"})(params)
    variables = sharing.initialize(plan, params, jax.random.key(0), sharing.identity)
    jax.tree.map(np.testing.assert_array_equal, sharing.materialize(plan, variables), params)


def test_groups_draw_different_coefficients(case):
    _, params = case
    plan = sharing.by_regex({"a": r"layer_[0-2]/kernel", "b": r"layer_[3-5]/kernel"})(params)
    coefficients = sharing.initialize(plan, params, jax.random.key(0))["coefficients"]
    assert np.abs(coefficients["a"] - coefficients["b"]).max() > 0.1
