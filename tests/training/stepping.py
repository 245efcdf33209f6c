"""Takes training steps on some of the devices and compares their losses."""

import jax
import numpy as np

from softshare_jax.training.experiment import make_experiment
from tests.rounding import bound

STEPS = 50


def images(config):
    """Returns random CIFAR images with labels."""
    random, number = np.random.default_rng(0), config.data.train_examples
    return {
        "images": random.integers(0, 256, (number, 32, 32, 3), np.uint8),
        "labels": random.integers(0, 10, number).astype(np.int32),
    }


def take_steps(config, devices, steps=STEPS, state=None):
    """Returns the losses of some steps from the initial or a given state, and the final state."""
    experiment = make_experiment(config, devices=jax.devices()[:devices])
    if experiment.task.classes is not None:
        experiment.task.load = lambda split, phase: images(config)
    feed = experiment.task.feed(experiment.batching, range(10**6), 0)
    state, losses = state or experiment.programs.init_state(), []
    for step in range(int(state.step), int(state.step) + steps):
        empty = experiment.programs.no_metrics()
        state, metrics = experiment.programs.train_steps(state, empty, feed.at(step), 1)
        losses.append(float(metrics.compute()["loss"]))
    return np.array(losses), state


def check_same_losses(found, expected, depth):
    """Checks, from the first step on, that losses differ by no more than rounding explains."""
    difference = np.abs(found - expected)
    assert np.all(difference <= bound(depth, max(expected), len(expected) - 1)), difference
