"""Training of a folded network as a loop: answers, gradients, and where it applies."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from softshare_jax import sharing
from softshare_jax.config import Loop, recipes
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.models.anytime import answers as all_answers
from softshare_jax.training.as_loop import LoopTraining
from softshare_jax.training.disturbance import Disturbance
from softshare_jax.training.experiment import make_experiment
from softshare_jax.training.randomness import stream
from softshare_jax.training.state import TrainState, trainable
from tests import tiny
from tests.training.looping import DEPTH, IMAGES, network, run
from tests.training.stepping import check_same_losses, take_steps


@functools.partial(jax.jit, static_argnums=0)
def _gradient(loop, key):
    built, variables = network()

    def loss(variables):
        answers, _ = loop.run(built, variables, IMAGES, key, jnp.float32(0))
        return jnp.sum(answers.logits[answers.last])

    return jax.grad(loss)(variables)["params"]


def has_gradient(loop, key):
    """Returns which layers have a gradient of the last answer."""
    params = _gradient(loop, key)
    return [bool(np.asarray(params[f"layer_{i}"]["conv"]["kernel"]).any()) for i in range(DEPTH)]


def after(answers, layers):
    """Returns the logits that a plain run has after these numbers of layers, and those of a loop."""
    built, variables = network()
    possible = built.apply(variables, IMAGES, range(DEPTH + 1), method=all_answers)
    return possible[np.array(layers)], answers.logits[: len(layers)]


def test_every_layer_answers_and_those_of_the_second_half_count():
    answers, _ = run(LoopTraining(0.5, 0.0), jax.random.key(0))
    np.testing.assert_allclose(*after(answers, [1, 2, 3, 4]), atol=1e-5)
    assert answers.last == 3
    np.testing.assert_allclose(answers.weights, [0, 0, 0.25, 0.75])


def test_a_prefix_has_no_gradient_and_its_length_varies():
    assert has_gradient(LoopTraining(0.5, 0.0), jax.random.key(0)) == [True] * DEPTH
    lengths = set()
    for seed in range(30):
        loop, key = LoopTraining(0.3, 1.0), jax.random.key(seed)
        found = has_gradient(loop, key)
        length = found.index(True)
        assert found == [False] * length + [True] * (DEPTH - length)
        answers, _ = run(loop, key)
        np.testing.assert_allclose(*after(answers, range(length + 1, DEPTH + 1)), atol=1e-5)
        expected = {0: [0, 0, 0.15, 0.85], 1: [0, 0.15, 0.85, 0], 2: [0.15, 0.85, 0, 0], 3: [1, 0, 0, 0]}
        np.testing.assert_allclose(answers.weights, expected[length], atol=1e-6)
        lengths.add(length)
    assert lengths == set(range(DEPTH))


def test_a_window_ends_the_step_and_is_all_that_has_a_gradient():
    seen = set()
    for seed in range(30):
        loop, key = LoopTraining(0.5, 0.7, window=2), jax.random.key(seed)
        found = has_gradient(loop, key)
        start = found.index(True)
        assert found == [start <= layer < start + 2 for layer in range(DEPTH)]
        answers, _ = run(loop, key)
        np.testing.assert_allclose(*after(answers, [start + 1, start + 2]), atol=1e-5)
        np.testing.assert_allclose(answers.weights, [0, 1])  # half of two layers is one
        seen.add(start)
    assert seen == {0, 1, 2}


def test_gradients_are_those_of_layers_written_out():
    built, variables = network()
    loop, weights = LoopTraining(0.5, 0.0, window=3), jnp.array([0, 0.25, 0.75])

    def of_loop(variables):
        answers, _ = loop.run(built, variables, IMAGES, jax.random.key(0), jnp.float32(0))
        return jnp.dot(answers.weights, jnp.mean(jnp.tanh(answers.logits), axis=(1, 2, 3)))

    def written_out(variables):
        logits = built.apply(variables, IMAGES, (1, 2, 3), method=all_answers)
        return jnp.dot(weights, jnp.mean(jnp.tanh(logits), axis=(1, 2, 3)))

    found, expected = (jax.jit(jax.grad(one))(variables) for one in (of_loop, written_out))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, expected)


def batch_statistics(updated):
    return {name: jax.device_get(tree) for name, tree in updated["batch_stats"].items()}


def test_statistics_are_those_of_the_layers_that_ran():
    built = zoo.named("cnn-4-3").build(zoo.Options())
    variables = built.init(jax.random.key(1), IMAGES)
    _, all_ran = built.apply(variables, IMAGES, train=True, mutable=["batch_stats"])
    expected, unchanged = batch_statistics(all_ran), batch_statistics(variables)
    numbers = set()
    for seed in range(20):
        loop = LoopTraining(0.5, 0.7, window=2)
        _, updated = run(loop, jax.random.key(seed), built=(built, variables))
        found = batch_statistics(updated)
        ran = [not np.array_equal(found[f"block_{i}"]["norm"]["mean"], [0, 0, 0]) for i in range(4)]
        number = sum(ran)
        assert ran == [True] * number + [False] * (4 - number)
        for i in range(4):
            right = (expected if i < number else unchanged)[f"block_{i}"]
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found[f"block_{i}"], right)
        numbers.add(number)
    assert numbers == {2, 3, 4}


def test_half_precision():
    built = zoo.named(f"gated-{DEPTH}-3").build(zoo.Options(dtype=jnp.bfloat16))
    loop = LoopTraining(0.5, 1.0, disturbance=Disturbance(lambda step: 0.1 * step, 0.5, 0.9))
    key, (_, variables) = jax.random.key(2), network()
    for step in (0.0, 1e-3):  # a little noise changes little
        half, full = (run(loop, key, step, (one, variables))[0] for one in (built, network()[0]))
        assert half.logits.dtype == jnp.float32
        np.testing.assert_allclose(half.logits[: half.last + 1], full.logits[: half.last + 1], atol=0.05)


def folded(model="sgated-4-6", **changes):
    """Returns the experiment and the initial state of a network that is one loop."""
    config = tiny.config("extrapolation", model=model, duration="50 steps", **changes)
    experiment = make_experiment(config)
    assert experiment.train_step.loop is None
    variables = jax.device_get(experiment.programs.init_state().variables)
    (group,) = experiment.plan.groups
    variables["coefficients"][group.name] = np.ones((4, 4), np.float32)
    return experiment, *sharing.fold(experiment.plan, variables, tied=True)


def test_a_run_trains_as_a_loop_once_it_is_folded():
    experiment, plan, _ = folded(loop__noise=0.2)
    loop = make_experiment(experiment.config, plan).train_step.loop
    assert (loop.weight, loop.detach_rate) == (0.5, 0.5)
    assert [float(loop.disturbance.noise(step)) for step in (0, 10, 25, 50)] == pytest.approx(
        [0, 0.12, 0.2, 0.2]
    )
    config = dataclasses.replace(
        experiment.config, loop=dataclasses.replace(experiment.config.loop, weight=0)
    )
    assert make_experiment(config, plan).train_step.loop is None


def test_the_objective_weighs_the_answers():
    experiment, plan, variables = folded(loop__weight=0.3)
    experiment = make_experiment(experiment.config, plan)
    sgd = optax.sgd(1.0)
    batch = {name: array[:8] for name, array in experiment.task.load("train", 0).items()}
    step = dataclasses.replace(experiment.train_step, mesh=None, model=experiment.model)
    # Without a mesh there is no axis to draw noise for.
    alone = dataclasses.replace(step.loop.disturbance, axis_name=None)
    loop = dataclasses.replace(step.loop, disturbance=alone)
    step = dataclasses.replace(step, loop=loop, recurrence=0.0, optimizer=sgd)
    state = TrainState(jnp.int32(3), variables, sgd.init(trainable(variables)))
    after, metrics = jax.jit(step)(state, batch)

    def objective(variables):
        dense, key = sharing.to_dense(plan, variables), stream(step.seed, "loop", 3)
        given = experiment.network, dense, experiment.task.inputs(batch), key, jnp.int32(3)
        answers, _ = step.loop.run(*given)
        losses = [jnp.mean(experiment.task.loss(logits, batch)) for logits in answers.logits]
        return sum(answers.weights * jnp.stack(losses)), losses[int(answers.last)]

    gradients, last = jax.grad(objective, has_aux=True)(variables)
    moved = variables["templates"]["layers"] - after.variables["templates"]["layers"]
    np.testing.assert_allclose(moved, gradients["templates"]["layers"], atol=1e-5)
    # The recorded loss is that of the last layer.
    assert float(metrics.compute()["loss"]) == pytest.approx(float(last), rel=1e-5)


@pytest.mark.parametrize("model", ["sgated-4-6", "scnn-4-6"])
def test_losses_on_one_and_four_devices(monkeypatch, model):
    experiment, plan, _ = folded(model, loop__noise=0.1, loop__swap_rate=0.5, loop__update_rate=0.8)

    def losses(devices):
        monkeypatch.setattr(
            "tests.training.stepping.make_experiment",
            lambda config, devices: make_experiment(config, plan, devices),
        )
        return take_steps(experiment.config, devices, steps=20)

    (one, _), (four, state) = losses(1), losses(4)
    check_same_losses(four, one, depth=6)
    weights = sharing.materialize(plan, state.variables)
    kernels = [weights[name]["conv"]["kernel"] for name in experiment.network.layer_names]
    for kernel in kernels[1:]:
        np.testing.assert_array_equal(kernel, kernels[0])


def test_a_network_that_cannot_answer_early():
    config = dataclasses.replace(recipes.cifar("swrn-16-1"), loop=Loop(weight=0.5))
    with pytest.raises(UserError, match="swrn-16-1 cannot answer after every layer; choose a network such"):
        make_experiment(config)


def test_exchanged_inputs_need_prefixes():
    config = tiny.config("extrapolation", loop__detach_rate=0.0, loop__window=0, loop__swap_rate=0.5)
    with pytest.raises(UserError, match=r"swap_rate is 0\.5, and without config\.loop\.detach_rate no layer"):
        make_experiment(config)


def test_exchanged_inputs_need_an_even_batch_on_each_device():
    config = tiny.config("extrapolation", batch_size=6, loop__swap_rate=0.5)
    make_experiment(config, devices=jax.devices()[:1])
    with pytest.raises(UserError, match=r"even number of examples on each device.* is 6 on 2 device"):
        make_experiment(config, devices=jax.devices()[:2])


def test_a_window_needs_prefixes():
    config = tiny.config("extrapolation", model="sgated-4-6", loop__detach_rate=0.0)
    with pytest.raises(
        UserError, match=r"loop\.window is 28, and without config\.loop\.detach_rate no layer"
    ):
        make_experiment(config)
