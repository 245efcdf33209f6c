"""Optimizers against their formulas in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from softshare_jax import config as config_lib
from softshare_jax.training import optimizer as optimizer_lib

WEIGHTS = {
    "params": {"norm": {"scale": np.array([1.0, -2.0]), "bias": np.array([0.5, 0.5])}},
    "templates": {"g": np.array([[1.0, 3.0], [2.0, -1.0]])},
    "coefficients": {"g": np.array([[1.0, 0.0], [0.5, 0.0], [0.0, 2.0]])},
}
GRADIENTS = jax.tree.map(lambda w: np.linspace(-1, 1, w.size).reshape(w.shape), WEIGHTS)
RATE, DECAY = 0.1, 0.01


def make_optimizer(name, schedule="constant", decay=DECAY, steps=3, milestones=(), warmup=0, **fields):
    config = config_lib.Optimizer(
        name=name, learning_rate=RATE, schedule=schedule, milestones=milestones, weight_decay=decay, **fields
    )
    return optimizer_lib.make_optimizer(config, steps, warmup)


def sgd(weight, gradient, decay, steps):
    momentum = np.zeros_like(weight)
    for _ in range(steps):
        total = gradient + decay * weight
        momentum = 0.9 * momentum + total
        weight = weight - RATE * (total + 0.9 * momentum)
    return weight


def classical(weight, gradient, decay, steps):
    momentum = np.zeros_like(weight)
    for _ in range(steps):
        momentum = 0.9 * momentum + gradient + decay * weight
        weight = weight - RATE * momentum
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
    "classical": classical,
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
    weights = run(make_optimizer("sgd", nesterov=False) if name == "classical" else make_optimizer(name))
    for collection, decay in (("params", DECAY), ("templates", DECAY), ("coefficients", 0.0)):
        expected = jax.tree.map(
            lambda w, g, d=decay: FORMULAS[name](w, g, d, 3), WEIGHTS[collection], GRADIENTS[collection]
        )
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), weights[collection], expected
        )


def test_unshared_networks_have_no_coefficients():
    weights = {"params": jnp.ones(2)}
    optimizer = make_optimizer("sgd")
    updates, _ = optimizer.update({"params": jnp.zeros(2)}, optimizer.init(weights), weights)
    np.testing.assert_allclose(updates["params"], -RATE * 1.9 * DECAY, rtol=1e-5)


def rates(**settings):
    """Returns the learning rate of each step, from the updates."""
    optimizer = make_optimizer("adamw", decay=1.0, **settings)
    weights = {**jax.tree.map(jnp.zeros_like, WEIGHTS), "params": {"w": jnp.ones(())}}
    gradients = jax.tree.map(jnp.zeros_like, weights)
    state = optimizer.init(weights)
    found = []
    for _ in range(settings["steps"] + 1):
        updates, state = optimizer.update(gradients, state, weights)
        found.append(-float(updates["params"]["w"]))
    return found


def test_cosine_ends_at_zero():
    half = RATE / 2 * (1 + np.cos(np.pi * np.arange(5) / 4))
    np.testing.assert_allclose(rates(schedule="cosine", steps=4), half, atol=1e-7)


def test_milestones_are_fractions_of_the_run():
    # The paper multiplies the rate by 0.2 at epochs 60, 120 and 160 of 200.
    found = rates(schedule="steps", steps=20, milestones=(0.3, 0.6, 0.8))
    expected = [RATE] * 6 + [RATE / 5] * 6 + [RATE / 25] * 4 + [RATE / 125] * 5
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # Two milestones at one step of a short run both count.
    short = rates(schedule="steps", steps=3, milestones=(0.3, 0.4))
    np.testing.assert_allclose(short, [RATE, *[RATE / 25] * 3], rtol=1e-5)


def test_a_warmup_rises_linearly_to_the_schedule():
    scheduled = np.array(rates(schedule="steps", steps=10, milestones=(0.6,)))
    found = rates(schedule="steps", steps=10, milestones=(0.6,), warmup=4)
    np.testing.assert_allclose(found, scheduled * np.array([0.25, 0.5, 0.75, *[1] * 8]), rtol=1e-5)
