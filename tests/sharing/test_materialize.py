import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softshare_jax import sharing
from softshare_jax.sharing.materialization import stack_members
from tests.sharing.strategies import shared, stacks
from tests.sharing.weights import chain_rule, columns, expected_weights, layer_weights, mixtures, residuals


@given(shared())
def test_every_weight_is_its_combination_of_templates(case):
    plan, variables = case
    params = sharing.materialize(plan, variables)
    found = layer_weights(plan, params)
    for group in plan.groups:
        np.testing.assert_allclose(
            found[group.name], expected_weights(group, variables), rtol=1e-5, atol=1e-5
        )
    assert params["private"] == variables["params"]["private"]


@settings(max_examples=12)
@given(stacks())
def test_rows_of_stacks_come_from_any_layers_of_any_groups(case):
    plan, variables = case
    params = jax.tree.map(np.asarray, sharing.materialize(plan, variables))
    seen = {}
    for group in plan.groups:
        alpha, templates = (np.asarray(variables[c][group.name]) for c in ("coefficients", "templates"))
        for layer, member in enumerate(group.members):
            stack = params[member.path.split("/")[0]]["kernel"]
            expected = sum(alpha[layer, j] * templates[j] for j in range(group.templates))
            np.testing.assert_allclose(stack[member.index], expected, rtol=1e-4, atol=1e-5)
            seen.setdefault(member.path, set()).add(member.index)
    assert {path: len(params[path.split("/")[0]]["kernel"]) for path in seen} == {
        path: len(rows) for path, rows in seen.items()
    }


@settings(max_examples=12)
@given(shared())
def test_jit_and_vmap_change_nothing(case):
    plan, variables = case
    dense = sharing.materialize(plan, variables)
    jitted = jax.jit(lambda v: sharing.materialize(plan, v))(variables)
    batched = jax.vmap(lambda v: sharing.materialize(plan, v))(jax.tree.map(lambda x: x[None], variables))
    for other in (jitted, jax.tree.map(lambda x: x[0], batched)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), dense, other)


@given(shared())
def test_gradients_are_those_of_the_chain_rule(case):
    plan, variables = case

    def loss(v):
        return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(sharing.materialize(plan, v)))

    gradient = jax.jit(jax.grad(loss))(variables)
    found = layer_weights(plan, sharing.materialize(plan, variables))
    for group in plan.groups:
        upstream = columns(group, np.cos(found[group.name]))
        for collection, expected in chain_rule(group, variables, upstream).items():
            actual = columns(group, gradient[collection][group.name])
            np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)
        if group.rank:
            upstream = np.cos(found[group.name]).reshape(group.layers, *group.matrix)
            factors = {side: np.asarray(x) for side, x in variables["residuals"][group.name].items()}
            for side, expected in (
                ("left", upstream @ factors["right"].swapaxes(1, 2)),
                ("right", factors["left"].swapaxes(1, 2) @ upstream),
            ):
                actual = gradient["residuals"][group.name][side]
                np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)


@settings(max_examples=8)
@given(shared())
def test_pmap_materializes_on_every_device(case):
    plan, variables = case
    devices = jax.local_device_count()
    assert devices == 4
    copies = jax.tree.map(lambda x: jnp.stack([x * (i + 1) for i in range(devices)]), variables["templates"])
    out = jax.pmap(lambda t: sharing.materialize(plan, {**variables, "templates": t}))(copies)
    for i in range(devices):
        weights = layer_weights(plan, jax.tree.map(lambda x, i=i: x[i], out))
        for group in plan.groups:
            expected = mixtures(group, variables) * (i + 1) + residuals(group, variables)
            np.testing.assert_allclose(weights[group.name], expected, rtol=1e-4, atol=1e-4)


@given(shared())
def test_stack_members_reads_back_what_materialize_wrote(case):
    plan, variables = case
    params = sharing.materialize(plan, variables)
    private, dense = stack_members(plan, params)
    assert jax.tree.structure(private) == jax.tree.structure(variables["params"])
    for name, weights in layer_weights(plan, params).items():
        np.testing.assert_array_equal(dense[name], weights)


@settings(max_examples=8)
@given(shared(), st.integers(0, 2**31))
def test_full_rank_from_dense_is_exact(case, seed):
    plan, variables = case
    full = plan.with_templates({group.name: group.layers for group in plan.groups})
    params = sharing.materialize(plan, variables)
    again = sharing.materialize(full, sharing.from_dense(full, params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), params, again)


@settings(max_examples=12)
@given(shared())
def test_from_dense_is_the_best_approximation(case):
    plan, variables = case
    # Weights of full rank.
    doubled = jax.tree.map(
        lambda a: a + jnp.sin(7 * jnp.arange(a.size, dtype=a.dtype)).reshape(a.shape),
        sharing.materialize(plan, variables),
    )
    found = layer_weights(plan, sharing.materialize(plan, sharing.from_dense(plan, doubled)))
    for group in plan.groups:
        dense = columns(group, layer_weights(plan, doubled)[group.name])
        error = np.linalg.norm(dense - columns(group, found[group.name]))
        left_out = np.linalg.svd(dense.transpose(2, 0, 1), compute_uv=False)[:, group.templates :]
        if group.rank:  # no theorem, but residuals can only help
            assert error <= np.linalg.norm(left_out) + 1e-3
        else:
            np.testing.assert_allclose(error, np.linalg.norm(left_out), atol=1e-3)


@given(shared())
def test_to_dense_keeps_the_other_collections(case):
    plan, variables = case
    dense = sharing.to_dense(plan, {**variables, "batch_stats": {"mean": jnp.ones(2)}})
    assert set(dense) == {"params", "batch_stats"}
    assert layer_weights(plan, dense["params"]).keys() == variables["templates"].keys()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_dtype_of_the_weights_is_that_of_templates_and_coefficients(dtype):
    plan = sharing.Plan((sharing.Group("g", (sharing.Member("a"), sharing.Member("b")), 1, (3,)),))
    variables = {"templates": {"g": jnp.ones((1, 3), dtype)}, "coefficients": {"g": jnp.ones((2, 1), dtype)}}
    assert {x.dtype for x in jax.tree.leaves(sharing.materialize(plan, variables))} == {jnp.dtype(dtype)}
