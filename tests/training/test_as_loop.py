"""Training of a folded network as a loop: answers, gradients, and where it applies."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from softshare_jax import sharing
from softshare_jax.config import Loop, recipes
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.models.anytime import answers
from softshare_jax.training.as_loop import LoopTraining
from softshare_jax.training.experiment import make_experiment
from softshare_jax.training.randomness import stream
from softshare_jax.training.state import TrainState, trainable
from tests import tiny
from tests.training.stepping import check_same_losses, take_steps

DEPTH = 4
IMAGES = np.random.default_rng(0).integers(0, 2, (4, 5, 5, 2)).astype(np.float32)


def network():
    built = zoo.named(f"gated-{DEPTH}-3").build(zoo.Options())
    return built, built.init(jax.random.key(1), IMAGES)


def gradient_per_layer(loop, key):
    """Returns which layers have a gradient of the last answer, and the logits of the random one."""
    built, variables = network()

    def loss(variables):
        final, early = built.apply(variables, IMAGES, key, jnp.int32(0), method=loop_of(loop))
        return jnp.sum(final), early

    gradients, early = jax.grad(loss, has_aux=True)(variables)
    layers = [gradients["params"][f"layer_{i}"]["conv"]["kernel"] for i in range(DEPTH)]
    return [bool(np.asarray(layer).any()) for layer in layers], early


def loop_of(loop):
    return lambda network, images, key, step: loop.run(network, images, key, step)


def test_the_random_answer_is_one_of_the_second_half():
    built, variables = network()
    possible = built.apply(variables, IMAGES, range(DEPTH + 1), method=answers)
    seen = set()
    for seed in range(20):
        _, early = gradient_per_layer(LoopTraining(0.5, 0.0), jax.random.key(seed))
        distance = np.abs(np.asarray(possible) - np.asarray(early)).max((1, 2, 3))
        assert distance.min() < 1e-5
        seen.add(int(distance.argmin()))
    assert seen == {3, 4}


def test_a_prefix_has_no_gradient_and_its_length_varies():
    assert gradient_per_layer(LoopTraining(0.5, 0.0), jax.random.key(0))[0] == [True] * DEPTH
    lengths = set()
    for seed in range(30):
        has_gradient, _ = gradient_per_layer(LoopTraining(0.5, 1.0), jax.random.key(seed))
        length = has_gradient.index(True)
        assert has_gradient == [False] * length + [True] * (DEPTH - length)
        lengths.add(length)
    assert lengths == set(range(DEPTH))


def test_a_window_ends_the_step_and_is_all_that_has_a_gradient():
    built, variables = network()
    possible = built.apply(variables, IMAGES, range(DEPTH + 1), method=answers)
    seen = set()
    for seed in range(30):
        loop, key = LoopTraining(0.5, 0.7, window=2), jax.random.key(seed)
        has_gradient, early = gradient_per_layer(loop, key)
        start = has_gradient.index(True)
        assert has_gradient == [start <= layer < start + 2 for layer in range(DEPTH)]
        last, _ = built.apply(variables, IMAGES, key, jnp.int32(0), method=loop_of(loop))
        np.testing.assert_allclose(last, possible[start + 2], atol=1e-5)
        np.testing.assert_allclose(early, possible[start + 2], atol=1e-5)  # a half of two layers is one
        seen.add(start)
    assert seen == {0, 1, 2}


def test_a_window_leaves_the_statistics_of_layers_that_do_not_run():
    built = zoo.named("cnn-4-3").build(zoo.Options())
    variables = built.init(jax.random.key(1), IMAGES)
    loop = LoopTraining(0.5, 0.0, window=2)
    _, updated = built.apply(
        variables, IMAGES, jax.random.key(0), jnp.int32(0), method=loop_of(loop), mutable=["batch_stats"]
    )
    changed = jax.tree.map(
        lambda a, b: bool(np.any(a != b)), updated, {"batch_stats": variables["batch_stats"]}
    )
    by_layer = {name: any(jax.tree.leaves(tree)) for name, tree in changed["batch_stats"].items()}
    assert [by_layer[f"block_{layer}"] for layer in range(4)] == [True, True, False, False], by_layer


def test_noise_follows_its_schedule_and_disturbs_the_state_after_a_prefix():
    built, variables = network()
    loop = LoopTraining(0.5, 1.0, noise=lambda step: 0.1 * step)

    def final(step, key):
        return built.apply(variables, IMAGES, key, jnp.float32(step), method=loop_of(loop))[0]

    expected = built.apply(variables, IMAGES)
    for seed in range(10):
        key = jax.random.key(seed)
        length = gradient_per_layer(loop, key)[0].index(True)
        np.testing.assert_allclose(final(0, key), expected, atol=1e-5)
        assert (np.abs(final(1, key) - expected).max() > 1e-3) == (length > 0)


def folded(**changes):
    """Returns the experiment and the initial state of a gated network that is one loop."""
    config = tiny.config("extrapolation", model="sgated-4-6", duration="50 steps", **changes)
    experiment = make_experiment(config)
    assert experiment.train_step.loop is None
    variables = jax.device_get(experiment.programs.init_state().variables)
    variables["coefficients"]["layers"] = np.ones((4, 4), np.float32)
    return experiment, *sharing.fold(experiment.plan, variables, tied=True)


def test_a_run_trains_as_a_loop_once_it_is_folded():
    experiment, plan, _ = folded(loop__noise=0.2)
    loop = make_experiment(experiment.config, plan).train_step.loop
    assert (loop.weight, loop.detach_rate) == (0.5, 0.5)
    assert [float(loop.noise(step)) for step in (0, 25, 50)] == pytest.approx([0, 0.05, 0.2])
    config = dataclasses.replace(
        experiment.config, loop=dataclasses.replace(experiment.config.loop, weight=0)
    )
    assert make_experiment(config, plan).train_step.loop is None


def test_the_objective_weighs_both_answers():
    experiment, plan, variables = folded(loop__weight=0.3)
    experiment = make_experiment(experiment.config, plan)
    sgd = optax.sgd(1.0)
    batch = {name: array[:8] for name, array in experiment.task.load("train", 0).items()}
    step = dataclasses.replace(experiment.train_step, mesh=None, model=experiment.model)
    # Without a mesh there is no axis to draw noise for.
    loop = dataclasses.replace(step.loop, axis_name=None)
    step = dataclasses.replace(step, loop=loop, recurrence=0.0, optimizer=sgd)
    state = TrainState(jnp.int32(3), variables, sgd.init(trainable(variables)))
    after, metrics = jax.jit(step)(state, batch)

    def losses(variables):
        dense, key = sharing.to_dense(plan, variables), stream(step.seed, "loop", 3)
        given = experiment.task.inputs(batch), key, jnp.int32(3)
        both = experiment.network.apply(dense, *given, method=loop_of(loop))
        return jnp.stack([jnp.mean(experiment.task.loss(logits, batch)) for logits in both])

    gradients = jax.jacobian(losses)(variables)["templates"]["layers"]
    moved = variables["templates"]["layers"] - after.variables["templates"]["layers"]
    np.testing.assert_allclose(moved, 0.7 * gradients[0] + 0.3 * gradients[1], atol=1e-5)
    # The recorded loss is that of the last layer.
    assert float(metrics.compute()["loss"]) == pytest.approx(float(losses(variables)[0]), rel=1e-5)


def test_losses_on_one_and_four_devices(monkeypatch):
    experiment, plan, _ = folded(loop__noise=0.1)

    def losses(devices):
        monkeypatch.setattr(
            "tests.training.stepping.make_experiment",
            lambda config, devices: make_experiment(config, plan, devices),
        )
        return take_steps(experiment.config, devices, steps=20)

    (one, _), (four, state) = losses(1), losses(4)
    check_same_losses(four, one, depth=6)
    weights = sharing.materialize(plan, state.variables)
    for i in range(1, 4):
        jax.tree.map(np.testing.assert_array_equal, weights["layer_0"], weights[f"layer_{i}"])


def test_a_network_that_cannot_answer_early():
    config = dataclasses.replace(recipes.cifar("swrn-16-1"), loop=Loop(weight=0.5))
    with pytest.raises(UserError, match="swrn-16-1 cannot answer after every layer; choose a network such"):
        make_experiment(config)


def test_a_window_needs_prefixes():
    config = tiny.config("extrapolation", model="sgated-4-6", loop__detach_rate=0.0)
    with pytest.raises(
        UserError, match=r"loop\.window is 28, and without config\.loop\.detach_rate no layer"
    ):
        make_experiment(config)
