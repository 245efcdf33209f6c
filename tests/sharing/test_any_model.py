"""Every property of soft sharing, on models of every library."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from softshare_jax import sharing
from softshare_jax.sharing.tree import named_arrays
from tests.sharing.models import CASES, KEY
from tests.sharing.weights import chain_rule, columns, residuals


@pytest.fixture(scope="module", autouse=True)
def _models_promote_ranks_as_they_like():
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return CASES[request.param]()


@pytest.fixture(scope="module")
def plan(case):
    return case.rule(case.params)


@pytest.fixture(scope="module")
def variables(case, plan):
    return sharing.initialize(plan, case.params, KEY)


@pytest.fixture(scope="module")
def loss(case, plan):
    def loss(variables):
        return jnp.mean((case.apply(sharing.materialize(plan, variables)) - 1) ** 2)

    return loss


@pytest.fixture(scope="module")
def gradients(variables, loss):
    return eqx.filter_jit(eqx.filter_grad(loss))(variables)


def close(a, b, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), *map(arrays, (a, b)))


def arrays(tree):
    return eqx.filter(tree, eqx.is_array)


def weights(params, group):
    """Returns the weights of a group from the model's own parameters, as columns ``[L, q, C]``."""
    leaves = named_arrays(params)
    layers = [leaves[m.path] if m.index is None else leaves[m.path][m.index] for m in group.members]
    return columns(group, np.stack(layers))


def check_tied(plan, params, variables):
    for group in plan.groups:
        mixtures = weights(params, group) - columns(group, residuals(group, variables))
        values = np.linalg.svd(mixtures.transpose(2, 0, 1), compute_uv=False)
        assert np.all(values[:, 2:] < 1e-5 * values[:, :1])
        assert values[:, 1].max() > 1e-3 * values[:, 0].max()


def test_the_summary_counts_what_is_initialized(case, plan, variables):
    before, after = (sum(x.size for x in jax.tree.leaves(arrays(tree))) for tree in (case.params, variables))
    lines = plan.summary(case.params).splitlines()
    assert lines[-1].startswith(f"{after:,} of {before:,} parameters")
    assert [line.split()[0] for line in lines[2:-3]] == [group.name for group in plan.groups]


def test_the_groups_are_the_expected_ones(case, plan):
    assert {group.name: group.layers for group in plan.groups} == case.groups
    assert all(group.templates == 2 for group in plan.groups)
    assert not [p for p in plan.paths if any(word in p.lower() for word in ("bias", "norm", "embed"))]


def test_layers_are_in_the_order_of_the_model(plan):
    for group in plan.groups:
        assert [m.index for m in group.members if m.index is not None] in ([], [0, 1, 2, 3])
        numbers = [
            [int(part) for part in m.path.replace("_", "/").split("/") if part.isdigit()]
            for m in group.members
        ]
        assert numbers == sorted(numbers)


def test_the_materialized_model_is_a_model_of_its_kind(case, plan, variables):
    dense = sharing.materialize(plan, variables)
    assert jax.tree.structure(dense) == jax.tree.structure(case.params)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), arrays(dense)) == jax.tree.map(
        lambda x: (x.shape, x.dtype), arrays(case.params)
    )
    check_tied(plan, dense, variables)
    private = [path for path in named_arrays(case.params) if path not in plan.paths]
    before, after = named_arrays(case.params), named_arrays(dense)
    assert private
    for path in private:
        np.testing.assert_array_equal(before[path], after[path])


def test_one_template_per_layer_is_the_model_itself(case, plan):
    full = plan.with_templates({group.name: group.layers for group in plan.groups})
    exact = sharing.initialize(full, case.params, KEY, sharing.identity)
    close(sharing.materialize(full, exact), case.params)
    close(case.apply(sharing.materialize(full, exact)), case.apply(case.params), rtol=1e-4, atol=1e-5)
    found = sharing.materialize(full, sharing.from_dense(full, case.params))
    close(case.apply(found), case.apply(case.params), rtol=1e-3, atol=1e-4)


def test_weights_are_tied_after_an_update(case, plan, variables, gradients):
    optimizer = optax.chain(sharing.add_decayed_weights(1e-2), optax.sgd(0.1))
    updates, _ = optimizer.update(gradients, optimizer.init(arrays(variables)), arrays(variables))
    updated = eqx.apply_updates(variables, updates)
    for name in ("templates", "coefficients"):
        for group in plan.groups:
            assert np.abs(updated[name][group.name] - variables[name][group.name]).max() > 1e-6
    # Weight decay on everything except coefficients.
    for group in plan.groups:
        name = group.name
        np.testing.assert_allclose(
            updated["coefficients"][name],
            variables["coefficients"][name] - 0.1 * gradients["coefficients"][name],
            atol=1e-6,
        )
        if group.rank:
            assert np.abs(updated["residuals"][name]["left"]).max() > 1e-6
        np.testing.assert_allclose(
            updated["templates"][name],
            variables["templates"][name] * (1 - 1e-3) - 0.1 * gradients["templates"][name],
            atol=1e-6,
        )
    dense = sharing.materialize(plan, updated)
    check_tied(plan, dense, updated)
    assert np.all(np.isfinite(case.apply(dense)))


def test_gradients_are_those_of_the_model_s_own_weights(case, plan, variables, gradients):
    dense = eqx.filter_jit(eqx.filter_grad(lambda p: jnp.mean((case.apply(p) - 1) ** 2)))(
        sharing.materialize(plan, variables)
    )
    for group in plan.groups:
        upstream = weights(dense, group)
        for collection, expected in chain_rule(group, variables, upstream).items():
            found = columns(group, gradients[collection][group.name])
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
        if group.rank:
            factors, found = (v["residuals"][group.name] for v in (variables, gradients))
            expected = upstream.reshape(-1, *group.matrix) @ np.asarray(factors["right"]).swapaxes(1, 2)
            np.testing.assert_allclose(found["left"], expected, rtol=1e-3, atol=1e-6)


def test_under_jit(case, plan, variables):
    outputs = eqx.filter_jit(lambda v: case.apply(sharing.materialize(plan, v)))(variables)
    close(outputs, case.apply(sharing.materialize(plan, variables)), rtol=1e-4, atol=1e-5)


def test_under_vmap(case, plan, variables):
    two = {**variables, "templates": jax.tree.map(lambda t: jnp.stack([t, 2 * t]), variables["templates"])}
    mapped = {**jax.tree.map(lambda _: None, variables), "templates": 0}
    apply = eqx.filter_jit(lambda v: case.apply(sharing.materialize(plan, v)))
    outputs = eqx.filter_vmap(apply, in_axes=(mapped,))(two)
    for i, scale in enumerate((1, 2)):
        scaled = {**variables, "templates": jax.tree.map(lambda t, s=scale: s * t, variables["templates"])}
        close(outputs[i], apply(scaled), rtol=1e-3, atol=1e-4)


def test_under_pmap(case, plan, variables):
    copies = jax.tree.map(lambda t: jnp.stack([t] * jax.local_device_count()), variables["templates"])
    outputs = jax.pmap(lambda t: case.apply(sharing.materialize(plan, {**variables, "templates": t})))(copies)
    expected = case.apply(sharing.materialize(plan, variables))
    for output in outputs:
        close(output, expected, rtol=1e-4, atol=1e-5)


def test_templates_split_over_devices(case, plan, variables):
    # The last axis is split in two or four; every device holds all templates.
    number = 4 if all(group.shape[-1] % 4 == 0 for group in plan.groups) else 2
    mesh = jax.make_mesh(
        (number,), ("model",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:number]
    )

    def place(template):
        axis = max(i for i, size in enumerate(template.shape) if i and size % number == 0)
        spec = PartitionSpec(*(["model" if i == axis else None for i in range(template.ndim)]))
        return jax.device_put(template, NamedSharding(mesh, spec))

    placed = {**variables, "templates": jax.tree.map(place, variables["templates"])}
    outputs = eqx.filter_jit(lambda v: case.apply(sharing.materialize(plan, v)))(placed)
    close(outputs, case.apply(sharing.materialize(plan, variables)), rtol=1e-4, atol=1e-5)


def test_the_plan_survives_json(case, plan, variables):
    again = sharing.Plan.from_json(plan.to_json())
    assert again == plan
    assert again(case.params) is again
    close(sharing.materialize(again, variables), sharing.materialize(plan, variables))


def test_in_bfloat16_weights_keep_the_dtype_of_the_model(case):
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16) if eqx.is_inexact_array(x) else x, case.params)
    plan = case.rule(half)
    variables = sharing.initialize(plan, half, KEY)
    assert {x.dtype for x in variables["coefficients"].values()} == {jnp.dtype("float32")}
    weights = named_arrays(sharing.materialize(plan, variables))
    assert {weights[path].dtype for path in plan.paths} == {jnp.dtype("bfloat16")}
    for found in (sharing.from_dense(plan, half), sharing.resize(plan, variables, 1)[1]):
        assert {x.dtype for x in found["templates"].values()} == {jnp.dtype("bfloat16")}


def test_a_folded_model_runs_with_one_layer_per_group(case, plan, variables):
    folded = sharing.fold(plan, variables, threshold=0.0)
    dense = sharing.materialize(*folded)
    assert jax.tree.structure(dense) == jax.tree.structure(case.params)
    for group in folded.plan.groups:
        assert group.templates == 1
        ranks = np.linalg.matrix_rank(weights(dense, group).transpose(2, 0, 1), tol=1e-5)
        assert ranks.max() == 1
    assert np.all(np.isfinite(case.apply(dense)))


def test_growing_changes_no_output(case, plan, variables):
    grown_plan, grown = sharing.resize(plan, variables, 3)
    assert all(group.templates == 3 for group in grown_plan.groups)
    close(
        case.apply(sharing.materialize(grown_plan, grown)),
        case.apply(sharing.materialize(plan, variables)),
        atol=1e-5,
    )
