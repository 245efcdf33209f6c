"""Templates within a budget, against an exhaustive search."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softshare_jax import sharing
from tests.sharing.weights import layer_weights


@st.composite
def trained(draw):
    """Draws groups of 2 to 4 layers with different sizes and spectra, and a private leaf."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    params = {"private": {"bias": jnp.ones(5)}}
    patterns = {}
    for i in range(draw(st.integers(1, 4))):
        # Few sizes, because each one compiles.
        layers, size = draw(st.integers(2, 4)), draw(st.sampled_from([1, 3, 9]))
        fall = draw(st.sampled_from([1.0, 3.0]))
        basis = random.normal(size=(layers, size)) * fall ** -np.arange(layers)[:, None]
        weights = random.normal(size=(layers, layers)) @ basis * draw(st.sampled_from([0.1, 1.0]))
        params[f"group_{i}"] = {f"layer_{j}": jnp.asarray(w, jnp.float32) for j, w in enumerate(weights)}
        patterns[f"g{i}"] = rf"group_{i}/layer_\d"
    return sharing.by_regex(patterns), params, draw(st.floats(0, 1))


def by_hand(params, group, k):
    """Returns the squared error and the parameters of the best k templates of a group, from NumPy."""
    rows = np.stack([np.ravel(params[m.path.split("/")[0]][m.path.split("/")[1]]) for m in group.members])
    values = np.linalg.svd(np.float64(rows), compute_uv=False)
    return np.sum(values[k:] ** 2), k * (rows.shape[0] + rows.shape[1])


def error_and_size(plan, params):
    variables = sharing.from_dense(plan, params)
    found = layer_weights(plan, sharing.materialize(plan, variables))
    dense = layer_weights(plan, params)
    error = sum(np.sum((np.float64(dense[name]) - found[name]) ** 2) for name in dense)
    return error, sum(x.size for x in jax.tree.leaves(variables))


@settings(max_examples=12)
@given(trained())
def test_no_other_choice_loses_less(case):
    rule, params, share = case
    plan = rule(params)
    private = params["private"]["bias"].size
    choices = [[by_hand(params, g, k) for k in range(1, g.layers + 1)] for g in plan.groups]
    options = [
        (sum(error for error, _ in chosen), private + sum(size for _, size in chosen))
        for chosen in itertools.product(*choices)
    ]
    sizes = [size for _, size in options]
    budget = int(min(sizes) + share * (max(sizes) - min(sizes)))
    error, size = error_and_size(sharing.by_budget(rule, budget)(params), params)
    best = min(error for error, size in options if size <= budget)
    assert size <= budget
    assert error <= best * (1 + 1e-3) + 1e-5


@settings(max_examples=8)
@given(trained())
def test_the_spectrum_predicts_the_error(case):
    rule, params, _ = case
    plan = rule(params)
    values = {name: np.asarray(s, np.float64) for name, s in sharing.spectra(plan, params).items()}
    for k in range(1, min(g.layers for g in plan.groups) + 1):
        foretold = sum(np.sum(s[k:] ** 2) for s in values.values())
        error, _ = error_and_size(plan.with_templates(k), params)
        assert error == pytest.approx(foretold, rel=1e-3, abs=1e-6)


def by_hand_with_residuals(weights, k, rank):
    """Returns the squared error of the best k templates and then the best residuals, and the parameters."""
    rows = weights.reshape(len(weights), -1)
    u, s, vt = np.linalg.svd(rows, full_matrices=False)
    rest = rows - (u[:, :k] * s[:k]) @ vt[:k]
    values = np.linalg.svd(rest.reshape(weights.shape), compute_uv=False)
    size = k * (rows.shape[0] + rows.shape[1]) + rank * len(weights) * sum(weights.shape[1:])
    return np.sum(values[:, rank:] ** 2), size


@pytest.mark.parametrize("share", [0.35, 0.5, 0.8])
def test_templates_and_ranks_share_one_budget(share):
    random = np.random.default_rng(1)
    # One group is a loop with small differences; the layers of the other one have nothing in common.
    base, left, right = (random.normal(size=shape) for shape in ((6, 8), (4, 6, 1), (4, 1, 8)))
    dense = {"loop": base + left @ right, "alien": random.normal(size=(3, 5, 7))}
    params = {
        name: {str(i): jnp.asarray(w, jnp.float32) for i, w in enumerate(weights)}
        for name, weights in dense.items()
    }
    rule = sharing.by_regex({name: rf"{name}/\d" for name in dense})
    budget, ranks = int(share * sum(weights.size for weights in dense.values())), (0, 1, 2, 6)
    plan = sharing.by_budget(rule, budget, ranks)(params)
    options = [
        [
            (*by_hand_with_residuals(w, k, r), (k, r))
            for k in range(1, len(w) + 1)
            for r in ranks
            if r <= min(w.shape[1:])
        ]
        for w in dense.values()
    ]
    affordable = [both for both in itertools.product(*options) if sum(size for _, size, _ in both) <= budget]
    best = min(affordable, key=lambda both: sum(error for error, _, _ in both))
    assert [(group.templates, group.rank) for group in plan.groups] == [choice for _, _, choice in best]
    error, size = error_and_size(plan, params)
    assert size <= budget
    # Taking turns loses no more than the first turn.
    assert error <= sum(error for error, _, _ in best) * (1 + 1e-3)


def test_a_budget_for_many_groups():
    random = np.random.default_rng(0)
    params = {
        f"g{i:02}": {f"l{j}": jnp.asarray(random.normal(size=3 + i % 3), jnp.float32) for j in range(12)}
        for i in range(24)
    }
    plan = sharing.by_regex({name: rf"{name}/.*" for name in params})(params)
    total = sum(math.prod(g.shape) * g.layers for g in plan.groups)
    chosen = sharing.by_budget(plan, total // 2)(params)
    assert error_and_size(chosen, params)[1] <= total // 2
    assert len({g.templates for g in chosen.groups}) > 1


def test_layers_of_many_weights_need_no_square_array():
    # A square array of one side of these weights would have 360 GB.
    layers = np.random.default_rng(0).normal(size=(2, 300, 1000)).astype(np.float32)
    params = {f"layer_{i}": jnp.asarray(layer) for i, layer in enumerate(layers)}
    (found,) = sharing.spectra(sharing.by_shape()(params), params).values()
    np.testing.assert_allclose(found, np.linalg.svd(layers.reshape(2, -1), compute_uv=False), rtol=1e-5)


def test_mistakes():
    params = {"a": jnp.ones((2, 3)), "b": jnp.ones((2, 3)), "c": jnp.ones(4)}
    rule = sharing.by_shape(roles=False)
    with pytest.raises(sharing.PlanError, match="a budget of 11 is too small: one template a group takes 12"):
        sharing.by_budget(rule, 11)(params)
    assert sharing.by_budget(rule, 12)(params).groups[0].templates == 1
    with pytest.raises(sharing.PlanError, match="needs the weights themselves; their shapes are not enough"):
        sharing.by_budget(rule, 12)(jax.eval_shape(lambda: params))
