import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from softshare_jax import sharing
from tests.sharing.strategies import shared
from tests.sharing.weights import columns, layer_weights
from tests.sharing.weights import cosines as cosines_of_columns


def cosines(rows):
    return cosines_of_columns(np.asarray(rows, np.float64).reshape(len(rows), -1, 1))


@given(shared())
def test_both_measures_against_their_definition(case):
    plan, variables = case
    weights = layer_weights(plan, sharing.materialize(plan, variables))
    by_coefficients = sharing.similarity(plan, variables, "coefficients")
    by_weights = sharing.similarity(plan, variables, "weights")
    for group in plan.groups:
        for found, values in (
            (by_coefficients, variables["coefficients"][group.name]),
            (by_weights, weights[group.name]),
        ):
            expected = cosines_of_columns(columns(group, values))
            np.testing.assert_allclose(found[group.name], expected, atol=1e-3)


def change_basis(plan, variables, random):
    """Writes templates and coefficients in another basis; the weights do not change."""
    changed = {**variables, "templates": {}, "coefficients": {}}
    for group in plan.groups:
        basis = random.normal(size=(group.templates, group.templates))
        while np.linalg.cond(basis) > 100:
            basis = random.normal(size=basis.shape)
        templates = np.asarray(variables["templates"][group.name], np.float64)
        alpha = np.asarray(variables["coefficients"][group.name], np.float64)
        moved = np.tensordot(np.linalg.inv(basis), templates, 1)
        changed["templates"][group.name] = jnp.asarray(moved, jnp.float32)
        changed["coefficients"][group.name] = jnp.asarray(alpha @ basis, jnp.float32)
    return changed


@pytest.mark.parametrize("seed", range(5))
def test_only_the_weight_measure_survives_changes_of_basis(seed):
    random = np.random.default_rng(seed)
    members = tuple(sharing.Member(f"layer_{i}") for i in range(8))
    plan = sharing.Plan((sharing.Group("g", members, 3, (3, 3, 16, 16)),))
    # Coefficients in three clusters, so that some layers fold.
    bundles = (0, 1, 2, 0, 1, 2, 0, 1)
    centres = np.linalg.qr(random.normal(size=(3, 3)))[0][np.array(bundles)]
    variables = {
        "templates": {"g": jnp.asarray(random.normal(size=(3, 3, 3, 16, 16)), jnp.float32)},
        "coefficients": {"g": jnp.asarray(centres + 0.05 * random.normal(size=(8, 3)), jnp.float32)},
    }
    weights, coefficients = (sharing.similarity(plan, variables, m)["g"] for m in ("weights", "coefficients"))
    folded = sharing.fold(plan, variables, 0.9).plan
    assert folded.groups[0].assignment == bundles
    furthest = 0.0
    for _ in range(100):
        changed = change_basis(plan, variables, random)
        np.testing.assert_allclose(sharing.similarity(plan, changed, "weights")["g"], weights, atol=1e-5)
        assert sharing.fold(plan, changed, 0.9).plan == folded
        moved = sharing.similarity(plan, changed, "coefficients")["g"] - coefficients
        furthest = max(furthest, np.abs(moved).max())
    assert furthest > 0.5


def test_the_coefficient_measure_depends_on_the_basis():
    plan = sharing.Plan((sharing.Group("g", (sharing.Member("a"), sharing.Member("b")), 2, (2,)),))
    orthogonal = {"templates": {"g": jnp.eye(2)}, "coefficients": {"g": jnp.eye(2)}}
    basis = jnp.array([[1.0, 1.0], [0.0, 1.0]])
    slanted = {"templates": {"g": jnp.linalg.inv(basis)}, "coefficients": {"g": basis}}
    jax.tree.map(np.testing.assert_allclose, *(sharing.materialize(plan, v) for v in (orthogonal, slanted)))
    assert sharing.similarity(plan, orthogonal, "coefficients")["g"][0, 1] == 0
    between = sharing.similarity(plan, slanted, "coefficients")["g"][0, 1]
    np.testing.assert_allclose(between, np.sqrt(0.5), rtol=1e-6)
    assert sharing.similarity(plan, slanted, "weights")["g"][0, 1] < 1e-6


def test_a_layer_of_zeros_is_similar_to_none_and_has_a_finite_gradient():
    plan = sharing.Plan((sharing.Group("g", (sharing.Member("a"), sharing.Member("b")), 2, (2,)),))
    variables = {"templates": {"g": jnp.eye(2)}, "coefficients": {"g": jnp.array([[0.0, 0.0], [1.0, 2.0]])}}
    for measure in sharing.MEASURES:
        matrix = sharing.similarity(plan, variables, measure)["g"]
        np.testing.assert_allclose(matrix, [[0, 0], [0, 1]], atol=1e-6)
    gradient = jax.grad(lambda v: sharing.recurrence_penalty(plan, v))(variables)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))


def test_unknown_measure():
    plan = sharing.Plan((sharing.Group("g", (sharing.Member("a"), sharing.Member("b")), 1, (2,)),))
    variables = {"templates": {"g": jnp.ones((1, 2))}, "coefficients": {"g": jnp.ones((2, 1))}}
    with pytest.raises(ValueError, match="'coefficients' or 'weights', not 'cosine'"):
        sharing.similarity(plan, variables, "cosine")


@given(shared())
def test_the_penalty_is_the_plain_sum(case):
    plan, variables = case
    rows = (columns(group, variables["coefficients"][group.name]) for group in plan.groups)
    expected = sum(cosines_of_columns(layers).sum() for layers in rows)
    np.testing.assert_allclose(sharing.recurrence_penalty(plan, variables), expected, rtol=1e-4)
    assert sharing.recurrence_penalty(sharing.Plan(), {}) == 0


def test_following_the_penalty_leads_to_one_layer():
    # Twenty draws of ten orthogonal layers. With the exact gradient of |c|, some get stuck in clusters.
    members = tuple(sharing.Member(str(i)) for i in range(10))
    plan = sharing.Plan((sharing.Group("g", members, 10, (1,)),))

    def least_similarity(key):
        alpha = sharing.orthogonal(key, 10, 10)

        def ascend(alpha, _):
            gradient = jax.grad(
                lambda a: sharing.recurrence_penalty(plan, {"coefficients": {"g": a}, **templates})
            )(alpha)
            return alpha + 0.01 * gradient, None

        templates = {"templates": {"g": jnp.ones((10, 1))}}
        alpha, _ = jax.lax.scan(ascend, alpha, None, length=600)
        return jnp.min(
            sharing.similarity(plan, {"coefficients": {"g": alpha}, **templates}, "coefficients")["g"]
        )

    least = jax.vmap(least_similarity)(jax.random.split(jax.random.key(0), 20))
    assert least.min() > 0.99


def two_layers(templates, coefficients=((1.0, 0.5), (0.25, 1.0)), dtype=jnp.float32):
    templates = jnp.asarray(templates, dtype)
    members = (sharing.Member("a"), sharing.Member("b"))
    plan = sharing.Plan((sharing.Group("g", members, 2, templates.shape[1:]),))
    return plan, {"templates": {"g": templates}, "coefficients": {"g": jnp.asarray(coefficients)}}


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_similarity_does_not_depend_on_the_scale(scale):
    rows = np.random.default_rng(0).normal(size=(2, 50)).astype(np.float32)
    plan, variables = two_layers(rows)
    scaled = {**variables, "templates": {"g": variables["templates"]["g"] * np.float32(scale)}}
    for matrix in (
        sharing.similarity(plan, scaled)["g"],
        jax.jit(sharing.similarity, static_argnums=0)(plan, scaled)["g"],
    ):
        np.testing.assert_allclose(matrix, cosines(np.array([[1, 0.5], [0.25, 1]]) @ rows), rtol=1e-5)
    assert sharing.distinct_layers(plan, scaled)["g"] == (0, 1)
    assert sharing.fold(plan, scaled, 0.999).plan == plan


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn])
def test_similarity_is_that_of_the_weights_before_rounding(dtype):
    rows = np.random.default_rng(0).normal(size=(2, 300))
    plan, variables = two_layers(rows, dtype=dtype)
    matrix = sharing.similarity(plan, variables)["g"]
    assert matrix.dtype == jnp.float32
    exact = np.array([[1, 0.5], [0.25, 1]]) @ np.asarray(variables["templates"]["g"]).astype(np.float64)
    np.testing.assert_allclose(matrix, cosines(exact), rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_layers_that_are_not_finite_are_an_error_that_names_them(bad):
    plan, variables = two_layers([[1, 2], [3, bad]], [[1.0, 0.0], [0.0, 1.0]])
    # 0 * bad is also NaN, so the first layer is not finite either.
    message = r"group 'g': the weights of layer 1 \(a\) are not finite"
    for function in (sharing.similarity, sharing.fold, sharing.distinct_layers):
        with pytest.raises(sharing.PlanError, match=message):
            function(plan, variables)
    with pytest.raises(sharing.PlanError, match=message):
        sharing.fold_within(plan, variables, lambda dense: 0.0, 1.0)
    assert np.isnan(jax.jit(lambda v: sharing.similarity(plan, v))(variables)["g"]).any()
    dense = {"a": jnp.ones(2), "b": jnp.array([1.0, bad])}
    for function in (sharing.from_dense, sharing.spectra):
        with pytest.raises(sharing.PlanError, match=r"layer 2 \(b\)"):
            function(plan, dense)
    with pytest.raises(sharing.PlanError, match=r"layer 2 \(b\)"):
        sharing.by_budget(plan, 100)(dense)
    with pytest.raises(ValueError, match="NaN"):
        sharing.merge(np.full((2, 2), np.nan), 0.5)


def test_weights_that_overflow_their_dtype_are_not_finite():
    plan, variables = two_layers([[6e4, 1], [1, 6e4]], [[1.0, 0.0], [2.0, 0.0]], jnp.float16)
    with pytest.raises(sharing.PlanError, match=r"layer 2 \(b\) are not finite"):
        sharing.distinct_layers(plan, variables)


def test_arguments_of_a_wrong_type():
    plan, variables = two_layers(np.eye(2))
    rule = sharing.by_regex({"g": "[ab]"})
    dense = sharing.materialize(plan, variables)
    for function in (sharing.similarity, sharing.fold, sharing.distinct_layers, sharing.materialize):
        for arguments, message in (
            ((rule, variables), "expected a plan, not a rule; a rule makes a plan: plan = rule(params)"),
            ((plan, dense), "no templates of group 'g': make them from dense parameters with from_dense"),
            (
                (plan.with_templates(1), variables),
                "templates of group 'g' have shape (2, 2), and the plan needs (1, 2)",
            ),
            ((plan, [variables]), "dictionary of collections, not list"),
            *(
                (
                    (plan, {**variables, "templates": {"g": jnp.ones((2, 2), dtype)}}),
                    "only real floating-point weights can share",
                )
                for dtype in (jnp.complex64, jnp.int32)
            ),
        ):
            with pytest.raises(sharing.PlanError, match=re.escape(message)):
                function(*arguments)
    with pytest.raises(sharing.PlanError, match="shares a, whose dtype is complex64: only real"):
        rule({"a": jnp.ones(2, jnp.complex64), "b": jnp.ones(2, jnp.complex64)})


def test_similarity_and_fold_have_one_default():
    defaults = {
        inspect.signature(f).parameters["measure"].default for f in (sharing.similarity, sharing.fold)
    }
    assert defaults == {"weights"}


def test_the_signed_penalty_draws_opposite_layers_to_one_side():
    plan = sharing.Plan((sharing.Group("g", tuple(map(sharing.Member, "abc")), 2, (2,)),))
    alpha = jnp.array([[1.0, 0.1], [-2.0, 0.1], [1.0, 0.0]])
    variables = {"templates": {"g": jnp.eye(2)}, "coefficients": {"g": alpha}}
    rows = np.asarray(alpha) / np.linalg.norm(alpha, axis=1, keepdims=True)
    assert float(sharing.recurrence_penalty(plan, variables, signed=True)) == pytest.approx(
        float((rows @ rows.T).sum()), abs=1e-5
    )

    def rise(signed):
        def penalty(coefficients):
            given = {**variables, "coefficients": {"g": coefficients}}
            return sharing.recurrence_penalty(plan, given, signed)

        coefficients = alpha
        for _ in range(200):
            coefficients = coefficients + 0.1 * jax.grad(penalty)(coefficients)
        return np.sign(np.asarray(coefficients @ coefficients[0]))

    assert rise(signed=False).tolist() == [1, -1, 1]
    assert rise(signed=True).tolist() == [1, 1, 1]
