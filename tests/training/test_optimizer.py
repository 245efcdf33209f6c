"""Optimisers against their formulas, written out in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from softshare_jax.sharing import Group, Member, Plan
from softshare_jax.training.optimizer import make_optimizer

WEIGHTS = {
    "params": {"norm": {"scale": np.array([1.0, -2.0]), "bias": np.array([0.5, 0.5])}},
    "templates": {"g": np.array([[1.0, 3.0], [2.0, -1.0]])},
    "coefficients": {"g": np.array([[1.0, 0.0], [0.5, 0.0], [0.0, 2.0]])},
}
GRADIENTS = jax.tree.map(lambda w: np.linspace(-1, 1, w.size).reshape(w.shape), WEIGHTS)
LAYERS = tuple(Member(f"layer_{i}") for i in range(3))
PLAN = Plan((Group("g", LAYERS, 2, (2,)),))
RATE, DECAY = 0.1, 0.01


def sgd(weight, gradient, decay, steps):
    momentum = np.zeros_like(weight)
    for _ in range(steps):
        total = gradient + decay * weight
        momentum = 0.9 * momentum + total
        weight = weight - RATE * (total + 0.9 * momentum)
    return weight


def adam(weight, gradient, decay, steps, decoupled):
    m, v = np.zeros_like(weight), np.zeros_like(weight)
    for step in range(1, steps + 1):
        total = gradient + (0 if decoupled else decay * weight)
        m, v = 0.9 * m + 0.1 * total, 0.999 * v + 0.001 * total**2
        update = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        weight = weight - RATE * (update + (decay * weight if decoupled else 0))
    return weight


FORMULAS = {
    "sgd": sgd,
    "adam": lambda *a: adam(*a, decoupled=False),
    "adamw": lambda *a: adam(*a, decoupled=True),
}


def run(optimizer, steps=3):
    weights = jax.tree.map(jnp.asarray, WEIGHTS)
    state = optimizer.init(weights)
    for _ in range(steps):
        updates, state = optimizer.update(GRADIENTS, state, weights)
        weights = optax.apply_updates(weights, updates)
    return weights


@pytest.mark.parametrize("name", FORMULAS)
def test_formula_with_decay_on_everything_but_coefficients(name):
    weights = run(make_optimizer(PLAN, name, RATE, "constant", DECAY, steps=3))
    for collection, decay in (("params", DECAY), ("templates", DECAY), ("coefficients", 0.0)):
        expected = jax.tree.map(
            lambda w, g, d=decay: FORMULAS[name](w, g, d, 3), WEIGHTS[collection], GRADIENTS[collection]
        )
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), weights[collection], expected
        )


@pytest.mark.parametrize("name", FORMULAS)
def test_a_folded_group_keeps_one_coefficient_a_row(name):
    plan = Plan((Group("g", LAYERS, 2, (2,), assignment=(0, 0, 1)),))
    coefficients = run(make_optimizer(plan, name, RATE, "constant", DECAY, steps=3))["coefficients"]["g"]
    assert ((coefficients != 0) == np.array([[1, 0], [1, 0], [0, 1]])).all()
    assert (coefficients != WEIGHTS["coefficients"]["g"]).any()


def test_unshared_networks_have_no_coefficients():
    weights = {"params": jnp.ones(2)}
    optimizer = make_optimizer(Plan(), "sgd", RATE, "constant", DECAY, steps=3)
    updates, _ = optimizer.update({"params": jnp.zeros(2)}, optimizer.init(weights), weights)
    np.testing.assert_allclose(updates["params"], -RATE * 1.9 * DECAY, rtol=1e-5)


def test_cosine_ends_at_zero():
    optimizer = make_optimizer(PLAN, "sgd", RATE, "cosine", 0.0, steps=4)
    state = optimizer.init(WEIGHTS)
    sizes = []
    for _ in range(5):
        updates, state = optimizer.update(
            jax.tree.map(jnp.zeros_like, WEIGHTS) | {"params": GRADIENTS["params"]}, state, WEIGHTS
        )
        sizes.append(float(optax.tree.norm(updates["params"])))
    assert sizes[0] > 0
    assert sizes[4] == pytest.approx(0, abs=1e-7)
