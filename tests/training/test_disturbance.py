"""Disturbances of a loop in training: noise, places that wait, and the input of another example."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax.models.anytime import answers as all_answers
from softshare_jax.training.as_loop import LoopTraining
from softshare_jax.training.disturbance import Disturbance
from tests.training.looping import DEPTH, network, run

IMAGES = np.random.default_rng(0).integers(0, 2, (6, 20, 20, 2)).astype(np.float32)


def logits(loop, seed=2, step=1.0, variables=None, images=IMAGES):
    """Returns the logits of a step after every layer that may have a gradient, ``[N, B, H, W]``."""
    built, initial = network()
    answers, _ = run(loop, jax.random.key(seed), step, (built, variables or initial), images)
    return np.asarray(answers.logits)


def expected(images=IMAGES):
    """Returns the logits after 0, 1, ... layers without a disturbance."""
    built, variables = network()
    return np.asarray(built.apply(variables, images, range(DEPTH + 1), method=all_answers))


@pytest.mark.parametrize("detach_rate", [0.0, 1.0])
def test_noise_follows_its_schedule_and_disturbs_every_layer(detach_rate):
    quiet = LoopTraining(0.5, detach_rate)
    loop = dataclasses.replace(quiet, disturbance=Disturbance(lambda step: 1e-4 * step))
    without = logits(quiet)
    np.testing.assert_allclose(logits(loop, step=0), without, atol=1e-6)
    one, two = (logits(loop, step=step) - without for step in (1, 2))
    np.testing.assert_allclose(two, 2 * one, rtol=0.05, atol=1e-6)  # small noise acts in proportion
    assert np.all(np.std(one, axis=(1, 2, 3)) > 1e-6)


def test_each_layer_sees_other_noise():
    # With the gates closed a state collects the noise of all layers, whose variance is the sum of theirs.
    closed = jax.tree.map(jnp.zeros_like, network()[1])
    closed["params"]["head"]["kernel"] = jnp.ones_like(closed["params"]["head"]["kernel"])
    loop = LoopTraining(0.5, 0.0, disturbance=Disturbance(lambda step: step))
    final = logits(loop, variables=closed, images=np.zeros((8, 30, 30, 2), np.float32))[-1]
    kept = 1 - 1 / (1 + np.e)
    variance = 3 * sum(kept ** (2 * layer) for layer in range(1, DEPTH + 1))
    assert np.var(final) == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize("rate", [0.3, 0.9])
def test_a_layer_updates_some_places_and_the_others_keep_what_they_have(rate):
    before, after = expected()[:2]
    differ = np.abs(after - before) > 1e-4
    assert differ.mean() > 0.9
    found = logits(LoopTraining(0.5, 0.0, disturbance=Disturbance(update_rate=rate)))
    updated = np.abs(found[0] - after) < 1e-5
    assert np.all(updated | (np.abs(found[0] - before) < 1e-5))
    for example in range(len(IMAGES)):
        number = differ[example].sum()
        assert updated[example][differ[example]].mean() == pytest.approx(rate, abs=4 / number**0.5)
    # Places wait in one layer and not in another: none is as before after all layers.
    assert (np.abs(found[-1] - before) < 1e-6).mean() < 2 * (1 - rate) ** DEPTH + 0.01


def test_a_prefix_of_exchanged_neighbors_sees_the_other_input():
    built, variables = network()
    own, other = IMAGES, IMAGES[[1, 0, 3, 2, 5, 4]]

    def written_out(prefix):
        state = built.apply(variables, own, method="start")
        for layer in range(prefix + 1):
            state = built.apply(variables, layer, state, other if layer < prefix else own, method="advance")
        return np.asarray(built.apply(variables, state, method="answer"))

    possible = [written_out(prefix) for prefix in range(DEPTH)]
    all_exchanged = LoopTraining(0.5, 1.0, window=1, disturbance=Disturbance(swap_rate=1.0))
    lengths = set()
    for seed in range(12):
        (found,) = logits(all_exchanged, seed)
        lengths |= {length for length, right in enumerate(possible) if np.allclose(found, right, atol=1e-5)}
    assert lengths == set(range(DEPTH))


def test_neighbors_are_exchanged_in_pairs():
    images = np.arange(6.0)[:, None]
    swapped = jax.jit(Disturbance(swap_rate=0.5).swapped)
    seen = [np.asarray(swapped(jax.random.key(seed), images))[:, 0] for seed in range(40)]
    for order in seen:
        assert all(sorted(order[i : i + 2]) == [i, i + 1] for i in (0, 2, 4))
    rates = np.mean([order != np.arange(6) for order in seen], axis=0)
    assert np.all(np.abs(rates - 0.5) < 0.3)
    np.testing.assert_array_equal(Disturbance().swapped(jax.random.key(0), images), images)
