"""Certificates of folds of any model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax import library, sharing
from softshare_jax.errors import UserError
from softshare_jax.runs.artifacts import Certificate
from tests.library.networks import drawn_together


def first(outputs):
    """Returns the first of the outputs."""
    return np.asarray(jax.tree.leaves(outputs)[0])


def accuracy(outputs, labels):
    return jnp.mean(first(outputs).reshape(len(labels), -1).argmax(1) == labels)


def test_what_a_fold_changes(user):
    """Batches of different sizes count by their examples; the result is that of all examples at once."""
    variables = drawn_together(user, 0.9)
    folded = sharing.fold(user.plan, variables, 0.8)
    before, after = (user._replace(plan=p, variables=v) for p, v in ((user.plan, variables), folded))
    number = len(user.inputs[0])
    labels = first(before.outputs).reshape(number, -1).argmax(1)
    parts = slice(0, number - 1), slice(number - 1, number)
    batches = [(tuple(array[part] for array in user.inputs), labels[part]) for part in parts]
    found = library.certify(user.plan, variables, folded, user.apply, batches, accuracy, step=7, name="mine")
    assert found.difference.metric.before == 1.0
    assert found.difference.metric.after == pytest.approx(float(accuracy(after.outputs, labels)))
    metric = found.difference.metric
    assert (metric.name, metric.measured_on) == ("accuracy", f"{number} examples")
    gaps = jax.tree.map(lambda a, b: np.abs(a - b).max(), before.outputs, after.outputs)
    assert found.difference.max_logit_difference == pytest.approx(max(jax.tree.leaves(gaps)), rel=1e-3)
    assert found.difference.max_logit_difference > 0
    layers = sharing.distinct_layers(*folded)
    assert found.layers == layers
    assert (found.distinct_layers.before, found.shared_layers) == (found.shared_layers, found.shared_layers)
    assert found.distinct_layers.after == sum(len(set(group)) for group in layers.values())
    assert set(found.loops) == {group.name for group in user.plan.groups}
    assert found.difference.parameters.kept < 1
    # The stated similarity is that of the least similar layers that merged, so it gives the same fold.
    matrices = sharing.similarity(user.plan, variables)
    least = min(matrices[g][i, j] for g, merged in layers.items() for i, j in enumerate(merged) if i != j)
    assert found.threshold == pytest.approx(float(least), abs=1e-5)
    assert 0.8 <= found.threshold < 1
    assert sharing.fold(user.plan, variables, found.threshold).plan == folded.plan
    assert Certificate.from_json(found.to_json(), "file") == found


def test_a_fold_of_equal_layers_costs_nothing(users):
    user = users["linen"]
    variables = drawn_together(user, 1.0)
    folded = sharing.fold(user.plan, variables)
    found = library.certify(user.plan, variables, folded, user.apply, [(user.inputs[0], None)], lambda *_: 2)
    assert found.difference.max_logit_difference < 1e-5
    assert found.difference.metric.name == "score"
    assert found.threshold > 0.999
    unfolded = library.certify(
        user.plan, variables, (user.plan, variables), user.apply, [(user.inputs[0], None)], lambda *_: 2
    )
    assert unfolded.difference.max_logit_difference == 0
    assert unfolded.distinct_layers.after == 1


def test_mistakes(users):
    user, other = users["linen"], users["equinox"]
    folded = sharing.fold(user.plan, user.variables, 0.0)
    resized = sharing.resize(user.plan, user.variables, 1)
    batch = [(user.inputs[0], None)]
    for message, arguments in (
        ("there are no batches", (folded, user.apply, [], lambda *_: 1)),
        ("as sharing.fold returns them", ((folded, 0.9), user.apply, batch, lambda *_: 1)),
        ("as sharing.fold returns them", (None, user.apply, batch, lambda *_: 1)),
        ("no fold of this network", ((other.plan, other.variables), user.apply, batch, lambda *_: 1)),
        ("has another k and is not folded", (resized, user.apply, batch, lambda *_: 1)),
        ("not finite", (folded, user.apply, batch, lambda *_: float("nan"))),
        ("not finite", (folded, lambda params, x: x * jnp.nan, batch, lambda *_: 1)),
    ):
        with pytest.raises(UserError, match=message):
            library.certify(user.plan, user.variables, *arguments)
    with pytest.raises(UserError, match="the plan shares nothing"):
        library.certify(sharing.Plan(), {"params": {}}, (sharing.Plan(), {}), user.apply, batch, lambda *_: 1)
    with pytest.raises(sharing.PlanError, match="no templates"):
        library.certify(user.plan, other.variables, folded, user.apply, batch, lambda *_: 1)
    with pytest.raises(sharing.PlanError, match="expected a plan, not a rule"):
        library.certify(sharing.by_shape(), user.variables, folded, user.apply, batch, lambda *_: 1)
