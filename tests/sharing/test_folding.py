import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softshare_jax import sharing
from tests.sharing.strategies import shared
from tests.sharing.weights import columns, layer_weights

THRESHOLDS = st.floats(0, 1)


def one_group(coefficients, templates):
    coefficients, templates = jnp.asarray(coefficients, jnp.float32), jnp.asarray(templates, jnp.float32)
    layers, k = coefficients.shape
    members = tuple(sharing.Member(f"layer_{i}") for i in range(layers))
    plan = sharing.Plan((sharing.Group("g", members, k, templates.shape[1:]),))
    return plan, {"params": {}, "templates": {"g": templates}, "coefficients": {"g": coefficients}}


@given(shared(), THRESHOLDS, st.sampled_from(sharing.MEASURES))
def test_every_merged_layer_is_as_similar_as_asked(case, threshold, measure):
    plan, variables = case
    for name, matrix in sharing.similarity(plan, variables, measure).items():
        merged = sharing.merge(np.asarray(matrix), threshold)
        assert all(merged[kept] == kept and kept <= layer for layer, kept in enumerate(merged))
        assert all(
            kept == layer or matrix[layer, kept] >= min(threshold, 1 - 1e-5)
            for layer, kept in enumerate(merged)
        ), name
        kept = sorted(set(merged))
        assert all(matrix[a, b] < max(threshold, 1e-9) for a in kept for b in kept if a < b)


@given(shared(), THRESHOLDS)
def test_a_folded_net_is_a_soft_shared_net(case, threshold):
    plan, variables = case
    folded = sharing.fold(plan, variables, threshold)
    params = sharing.materialize(folded.plan, folded.variables)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, sharing.materialize(plan, variables))
    assert sharing.Plan.from_json(folded.plan.to_json()) == folded.plan
    for before, group in zip(plan.groups, folded.plan.groups, strict=True):
        assert group.templates <= before.templates
        coefficients = columns(group, folded.variables["coefficients"][group.name])
        assert coefficients.shape[:2] == (group.layers, group.templates)
        if group.assignment is not None:
            for layer, template in enumerate(group.assignment):
                assert np.flatnonzero(coefficients[layer].any(axis=1)).tolist() in ([template], [])


@given(shared(), THRESHOLDS)
def test_merged_weights_are_the_nearest_multiple_of_the_kept_one(case, threshold):
    plan, variables = case
    folded = sharing.fold(plan, variables, threshold)
    before = layer_weights(plan, sharing.materialize(plan, variables))
    after = layer_weights(plan, sharing.materialize(folded.plan, folded.variables))
    similarity = sharing.similarity(plan, variables, "weights")
    for group in plan.groups:
        merged = sharing.merge(np.asarray(similarity[group.name]), threshold)
        old, new = (columns(group, weights[group.name]) for weights in (before, after))
        for layer, kept in enumerate(merged):
            w, v = old[layer], old[kept]
            nearest = (w * v).sum(0) / (v * v).sum(0) * v
            np.testing.assert_allclose(new[layer], nearest, atol=2e-3)


@given(shared(), THRESHOLDS)
def test_folding_again_changes_nothing(case, threshold):
    plan, variables = case
    once = sharing.fold(plan, variables, threshold)
    twice = sharing.fold(once.plan, once.variables, max(threshold, 0.999))
    first, second = (layer_weights(plan, sharing.materialize(*f)) for f in (once, twice))
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=2e-2, atol=2e-2)
    assert sharing.distinct_layers(*once) == sharing.distinct_layers(*twice)


def test_scaled_and_flipped_copies_fold_exactly_and_roll_back():
    templates = np.random.default_rng(0).normal(size=(3, 2, 4))
    alpha = np.array([[1, 2, 3], [0, 1, -1], [-2, -4, -6], [0, 0.5, -0.5], [3, 6, 9]])
    plan, variables = one_group(alpha, templates)
    folded = sharing.fold(plan, variables, 0.999)
    (group,) = folded.plan.groups
    assert (group.templates, group.assignment) == (2, (0, 1, 0, 1, 0))
    np.testing.assert_allclose(
        folded.variables["coefficients"]["g"], [[1, 0], [0, 1], [-2, 0], [0, 0.5], [3, 0]], rtol=1e-5
    )
    before, after = sharing.materialize(plan, variables), sharing.materialize(*folded)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), before, after)
    assert sharing.format_loops(sharing.find_loops(sharing.distinct_layers(*folded)["g"])) == "(1 2)×2 1"


def test_templates_stay_while_there_are_more_distinct_layers():
    plan, variables = one_group([[1, 0], [0, 1], [1, 1], [2, 2]], np.eye(2))
    folded = sharing.fold(plan, variables, 0.99)
    assert folded.plan == plan
    np.testing.assert_array_equal(folded.variables["templates"]["g"], variables["templates"]["g"])
    assert sharing.distinct_layers(*folded)["g"] == (0, 1, 2, 2)


def test_threshold_zero_leaves_one_layer_and_nothing_merges_above_the_highest_similarity():
    plan, variables = one_group(np.eye(4), np.eye(4))
    assert sharing.fold(plan, variables, 0.0).plan.groups[0].templates == 1
    folded = sharing.fold(plan, variables, 0.5)
    assert folded.plan == plan
    assert folded.variables["templates"]["g"] is variables["templates"]["g"]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_thresholds_outside_the_range(threshold):
    with pytest.raises(ValueError, match="similarity from 0 to 1"):
        sharing.fold(*one_group(np.eye(2), np.eye(2)), threshold)


def test_the_measures_can_disagree():
    # The templates are equal, so different coefficients give equal weights.
    plan, variables = one_group([[1, 0], [0, 1]], [[1, 2], [1, 2]])
    assert sharing.fold(plan, variables, 0.9, "weights").plan.groups[0].templates == 1
    assert sharing.fold(plan, variables, 0.9, "coefficients").plan == plan


@given(shared(), st.floats(0, 3))
def test_the_budget_search_stays_within_its_budget(case, budget):
    plan, variables = case
    original = sharing.materialize(plan, variables)

    def score(dense):
        distance = jax.tree.map(lambda a, b: jnp.sum(jnp.abs(a - b)), dense["params"], original)
        return -float(sum(jax.tree.leaves(distance)))

    folded, threshold = sharing.fold_within(plan, variables, score, budget)
    assert score(sharing.to_dense(*folded)) >= -budget
    assert folded.plan in (plan, sharing.fold(plan, variables, threshold).plan)


def test_nothing_folds_if_no_fold_is_within_the_budget():
    # Tied layers lose their scalars even at the highest threshold.
    plan, variables = one_group([[1, 0], [3, 0]], np.eye(2))
    original = sharing.to_dense(plan, variables)

    def score(dense):
        distance = jax.tree.map(lambda a, b: jnp.sum(jnp.abs(a - b)), dense, original)
        return -float(sum(jax.tree.leaves(distance)))

    folded, threshold = sharing.fold_within(plan, variables, score, 0.01, tied=True)
    assert (folded.plan, threshold) == (plan, 1.0)
    (folded, _), _ = sharing.fold_within(plan, variables, score, 0.01)
    assert folded.groups[0].templates == 1
    with pytest.raises(ValueError, match="the metric before the fold is NaN"):
        sharing.fold_within(plan, variables, lambda dense: float("nan"), 0.01)


def test_a_boundless_budget_folds_everything_and_a_negative_one_is_an_error():
    case = one_group([[1, 0], [0, 1], [1, 0.1]], np.eye(2))
    folded, _ = sharing.fold_within(*case, lambda dense: 0.0, max_drop=1.0)
    assert folded.plan.groups[0].templates == 1
    with pytest.raises(ValueError, match="0 or more"):
        sharing.fold_within(*case, lambda dense: 0.0, max_drop=-1)


def test_other_collections_pass_through():
    plan, variables = one_group(np.eye(2), np.eye(2))
    folded = sharing.fold(plan, {**variables, "batch_stats": {"mean": 1}}, 0.0)
    assert folded.variables["batch_stats"] == {"mean": 1}
    assert sharing.fold(sharing.Plan(), {"params": {"w": 1}}).variables == {"params": {"w": 1}}


@given(shared(), THRESHOLDS)
def test_tied_layers_are_the_mean_of_the_layers_that_merge(case, threshold):
    plan, variables = case
    folded = sharing.fold(plan, variables, threshold, tied=True)
    before, after = (layer_weights(p, sharing.materialize(p, v)) for p, v in (case, folded))
    for group in folded.plan.groups:
        if not group.tied:
            continue
        weights, merged = before[group.name], np.array(group.assignment)
        for template in set(group.assignment):
            same = merged == template
            mean = weights[same].astype(np.float64).mean(0)
            for weight in after[group.name][same]:
                np.testing.assert_allclose(weight, mean, atol=1e-5)
                np.testing.assert_array_equal(weight, after[group.name][same][0])
            # No layer is folded into its opposite.
            first = weights[same][0].ravel()
            assert all(first @ weight.ravel() > -1e-4 for weight in weights[same][1:])
    assert sharing.Plan.from_json(folded.plan.to_json()) == folded.plan
    again = sharing.fold(*folded, 1.0)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-2),
        *(sharing.materialize(*each) for each in (folded, again)),
    )


def test_training_keeps_tied_layers_equal():
    folded = sharing.fold(*one_group([[1, 0.01], [2, 0], [1, 0], [0, 1]], np.eye(2)), 0.9, tied=True)
    (group,) = folded.plan.groups
    assert (group.assignment, group.tied) == ((0, 0, 0, 1), True)

    def loss(variables):
        weights = sharing.materialize(folded.plan, variables)
        return sum(jnp.sum((i + 1) * weights[f"layer_{i}"] ** 3) for i in range(4))

    gradients = jax.grad(loss)(folded.variables)
    assert not np.asarray(gradients["coefficients"]["g"]).any()
    moved = jax.tree.map(lambda x, g: x - 0.1 * g - 0.3, folded.variables, gradients)
    weights = sharing.materialize(folded.plan, moved)
    for layer in (1, 2):
        np.testing.assert_array_equal(weights["layer_0"], weights[f"layer_{layer}"])
    # Resized, the group mixes templates again and computes the same.
    larger = sharing.resize(folded.plan, moved, 3)
    assert not larger[0].groups[0].tied
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), sharing.materialize(*larger), weights
    )
    # Dense weights become a tied group again.
    back = sharing.from_dense(folded.plan, weights)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        sharing.materialize(folded.plan, back),
        weights,
    )


def test_layers_of_opposite_sign_merge_only_if_scalars_are_kept():
    case = one_group([[1, 0], [-2, 0], [3, 0]], np.eye(2))
    assert sharing.fold(*case).plan.groups[0].assignment == (0, 0, 0)
    folded = sharing.fold(*case, tied=True)
    assert folded.plan.groups[0].assignment == (0, 1, 0)
    np.testing.assert_allclose(folded.variables["templates"]["g"], [[2, 0], [-2, 0]])


def test_tied_rows_are_equal_while_there_are_more_distinct_layers():
    plan, variables = one_group([[1, 0], [0, 1], [1, 1], [2, 2]], np.eye(2))
    folded = sharing.fold(plan, variables, 0.99, tied=True)
    assert folded.plan == plan
    np.testing.assert_allclose(folded.variables["coefficients"]["g"][2:], [[1.5, 1.5], [1.5, 1.5]])


def two_groups():
    """Two leaves per layer: the first leaf is alike in all layers, the second in every other layer."""
    rows = {"a": [[1, 0.1], [1, 0], [1, 0.1], [1, 0]], "b": [[1, 0], [0, 1], [1, 0], [0, 1]]}
    members = {name: tuple(sharing.Member(f"{name}_{i}") for i in range(4)) for name in rows}
    plan = sharing.Plan(tuple(sharing.Group(name, members[name], 2, (2,)) for name in rows))
    arrays = {name: jnp.asarray(row, jnp.float32) for name, row in rows.items()}
    return plan, {"templates": {name: jnp.eye(2) for name in rows}, "coefficients": arrays}


def test_groups_fold_jointly():
    alone, together = (sharing.fold(*two_groups(), 0.9, joint=j).plan for j in ((), [("a", "b")]))
    assert [group.assignment for group in alone.groups] == [(0, 0, 0, 0), (0, 1, 0, 1)]
    assert [group.assignment for group in together.groups] == [(0, 1, 0, 1), (0, 1, 0, 1)]
    (found, _), _ = sharing.fold_within(*two_groups(), lambda dense: 0.0, 1.0, joint=[("a", "b")])
    assert [group.templates for group in found.groups] == [1, 1]


@pytest.mark.parametrize(
    ("joint", "message"),
    [
        ([("a", "c")], "there is no group 'c', the groups are a, b"),
        ([("a", "b"), ("b",)], "group 'b' is named twice"),
    ],
)
def test_groups_that_cannot_fold_jointly(joint, message):
    with pytest.raises(sharing.PlanError, match=message):
        sharing.fold(*two_groups(), joint=joint)


def test_groups_of_different_depth_cannot_fold_jointly():
    plan, variables = two_groups()
    first = sharing.Group("a", plan.groups[0].members[:2], 2, (2,))
    variables["coefficients"]["a"] = jnp.eye(2)
    with pytest.raises(sharing.PlanError, match="need one number of layers: a has 2, b has 4"):
        sharing.fold(sharing.Plan((first, plan.groups[1])), variables, joint=[("a", "b")])
