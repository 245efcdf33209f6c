import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from softshare_jax import sharing
from softshare_jax.training.experiment import make_experiment
from softshare_jax.training.metrics import F1
from softshare_jax.training.state import TrainState, averaged, trainable
from softshare_jax.training.steps import TrainStep
from softshare_jax.training.tasks.batching import Fed, take
from tests import tiny


@pytest.fixture(scope="module")
def experiment():
    return make_experiment(tiny.config())


@pytest.fixture(scope="module")
def step(experiment):
    return alone(experiment, experiment.optimizer)


def alone(experiment, optimizer, **fields):
    """Returns the training step of one device."""
    parts = {"model": experiment.model, "plan": experiment.plan, "task": experiment.task}
    return TrainStep(**parts, optimizer=optimizer, seed=0, **fields)


def fed(experiment, step=0):
    return experiment.task.feed(experiment.batching, range(16)).at(step)


@pytest.fixture(scope="module")
def batch(experiment):
    return {name: array[:8] for name, array in experiment.task.load("train", 0).items()}


def as_host(tree):
    return jax.tree.map(np.asarray, tree)


def test_a_soft_shared_step_has_the_gradients_of_the_unshared_network(experiment, batch):
    # The chain rule by hand: gradients of the unshared network, contracted with templates and coefficients.
    state = experiment.programs.init_state()
    dense = sharing.to_dense(experiment.plan, state.variables)

    def loss(params):
        logits, _ = experiment.network.apply(
            {**dense, "params": params}, experiment.task.inputs(batch), train=True, mutable=["batch_stats"]
        )
        return jnp.mean(experiment.task.loss(logits, batch))

    gradient = jax.grad(loss)(dense["params"])
    stacked = np.stack([gradient[f"block_{i}"]["conv"]["kernel"] for i in range(4)])
    alpha = np.asarray(state.variables["coefficients"]["blocks"])
    templates = np.asarray(state.variables["templates"]["blocks"])

    sgd = optax.sgd(1.0)
    sgd_step = alone(experiment, sgd)
    start = TrainState(jnp.int32(0), state.variables, sgd.init(trainable(state.variables)))
    after, _ = jax.jit(sgd_step)(start, batch)
    np.testing.assert_allclose(
        templates - after.variables["templates"]["blocks"],
        np.einsum("lk,l...->k...", alpha, stacked),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        alpha - after.variables["coefficients"]["blocks"],
        stacked.reshape(4, -1) @ templates.reshape(4, -1).T,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        np.asarray(state.variables["params"]["head"]["kernel"]) - after.variables["params"]["head"]["kernel"],
        gradient["head"]["kernel"],
        atol=1e-5,
    )


def test_a_step_updates_running_statistics_as_batch_norm_does(experiment, step, batch):
    state = experiment.programs.init_state()
    after, _ = jax.jit(step)(state, batch)
    stem = as_host(state.variables["params"]["stem"])
    first = np.einsum("bhwi,io->bhwo", batch["images"], stem["kernel"][0, 0]) + stem["bias"]
    kernel = sharing.materialize(experiment.plan, state.variables)["block_0"]["conv"]["kernel"]
    conv = jax.lax.conv_general_dilated(
        jnp.asarray(first, jnp.float32), kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(
        after.variables["batch_stats"]["block_0"]["norm"]["mean"], 0.1 * conv.mean((0, 1, 2)), atol=1e-5
    )


def test_the_regularizer_draws_layers_together(experiment, batch):
    optimizer = optax.adam(0.02)

    def mean_similarity(recurrence):
        step = jax.jit(alone(experiment, optimizer, recurrence=recurrence))
        variables = experiment.programs.init_state().variables
        state = TrainState(jnp.int32(0), variables, optimizer.init(trainable(variables)))
        for _ in range(60):
            state, _ = step(state, batch)
        return float(jnp.mean(sharing.similarity(experiment.plan, state.variables)["blocks"]))

    assert mean_similarity(0.1) > mean_similarity(0.0) + 0.3


def test_the_step_is_pure_and_runs_under_pmap(experiment, step, batch):
    state = experiment.programs.init_state()
    split = jax.tree.map(lambda x: x.reshape(4, 2, *x.shape[1:]), batch)
    copies = jax.tree.map(lambda x: jnp.broadcast_to(x, (4, *x.shape)), as_host(state))
    states, _ = jax.pmap(step)(copies, split)
    for i in range(4):
        one, _ = jax.jit(step)(as_host(state), jax.tree.map(lambda x, i=i: np.asarray(x[i]), split))
        np.testing.assert_allclose(
            states.variables["templates"]["blocks"][i], one.variables["templates"]["blocks"], atol=1e-4
        )


def test_four_devices_and_one_take_the_same_steps(experiment):
    # The experiment's mesh splits each batch over four devices; batch-norm must not notice.
    config = experiment.config
    step = jax.jit(alone(experiment, experiment.optimizer, recurrence=config.sharing.recurrence))
    examples = fed(experiment)
    assert len(examples.data["images"].sharding.device_set) == 4
    parallel, by_one = experiment.programs.init_state(), as_host(experiment.programs.init_state())
    metrics = experiment.task.metrics.empty()
    for number in range(3):
        parallel, metrics = experiment.programs.train_steps(parallel, metrics, examples, 1)
        by_one, _ = step(by_one, take(as_host(examples), jnp.int32(number), 8))
    for a, b in zip(*(jax.tree.leaves(as_host(s.variables)) for s in (parallel, by_one)), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


def test_several_steps_in_one_dispatch_are_the_steps_one_by_one():
    single, several = (make_experiment(tiny.config(steps_per_dispatch=n)) for n in (1, 4))
    examples = fed(single)
    one, sums = single.programs.init_state(), single.task.metrics.empty()
    for _ in range(4):
        one, sums = single.programs.train_steps(one, sums, examples, 1)
    start = several.programs.init_state(), several.task.metrics.empty()
    all_, totals = several.programs.train_steps(*start, examples, 4)
    assert int(all_.step) == int(one.step) == 4
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
        as_host(all_.variables),
        as_host(one.variables),
    )
    assert totals.compute()["loss"] == pytest.approx(float(sums.compute()["loss"]), rel=1e-3)


def test_an_epoch_visits_every_example_once_and_epochs_differ(experiment):
    order = np.asarray(fed(experiment).order)
    assert sorted(order) == list(range(48))
    indices = Fed({"index": np.arange(48)}, order)
    seen = [take(indices, jnp.int32(step), 8)["index"] for step in range(6)]
    assert sorted(np.concatenate(seen)) == list(range(48))
    np.testing.assert_array_equal(take(indices, jnp.int32(6), 8)["index"], seen[0])
    assert (np.asarray(fed(experiment, 6).order) != order).any()


def test_evaluation_counts_every_example_once(experiment):
    # 20 examples in batches of 8: the last batch is padded, and padding does not count.
    state = experiment.programs.init_state()
    dense = experiment.programs.to_dense(state.variables)
    data = as_host(experiment.task.load("test", 1))
    logits = np.asarray(experiment.network.apply(dense, data["images"].astype(np.float32)))
    labels = data["labels"].astype(np.float64)
    loss = np.mean(np.logaddexp(0, logits) - labels * logits)
    predicted, true = logits > 0, labels > 0
    f1 = 2 * (predicted & true).sum() / (predicted.sum() + true.sum())
    scores = experiment.evaluator.evaluate(dense, 1)
    assert scores == pytest.approx({"loss": loss, "f1": f1}, rel=1e-4)
    np.testing.assert_allclose(experiment.evaluator.predict(dense, 1, 20), logits, atol=1e-4)


def test_f1_of_nothing_to_find():
    empty = F1.empty()
    assert empty.compute() == 1.0
    wrong = F1.from_model_output(
        logits=jnp.ones((1, 2, 2)), labels=jnp.zeros((1, 2, 2)), mask=jnp.ones(1, bool)
    )
    assert empty.merge(wrong).compute() == 0.0


def test_phases_and_held_out_examples(experiment):
    assert [experiment.schedule.phase_at(step) for step in (0, 7, 8, 15, 16, 99)] == [0, 0, 1, 1, 1, 1]
    again = make_experiment(tiny.config())
    for split in ("train", "test"):
        jax.tree.map(np.testing.assert_array_equal, again.task.load(split, 1), experiment.task.load(split, 1))
    train, test = (as_host(experiment.task.load(split, 1))["images"] for split in ("train", "test"))
    assert not (train[:20] == test).all()


def test_a_fresh_optimizer_continues_the_schedule_at_its_step(experiment, step, batch):
    # The rate at the end of the cosine is zero, also for a fresh optimizer.
    variables = experiment.programs.init_state().variables
    for start, moves in ((experiment.schedule.total, False), (experiment.schedule.total // 2, True)):
        state = experiment.fresh_state(start, variables)
        after, _ = jax.jit(step)(state, batch)
        change = np.abs(after.variables["templates"]["blocks"] - variables["templates"]["blocks"]).max()
        assert (change > 1e-4) == moves


def test_the_moving_average_by_hand(experiment, batch):
    sgd, keep = optax.sgd(0.1), 0.25
    step = jax.jit(alone(experiment, sgd, ema_decay=keep))
    first = experiment.programs.init_state().variables
    state = TrainState(jnp.int32(0), {**first, "average": first}, sgd.init(trainable(first)))
    assert averaged(first) is first
    expected = as_host(first)
    for number in range(3):
        state, _ = step(state, batch)
        now = {name: tree for name, tree in as_host(state.variables).items() if name != "average"}
        kept = min(keep, (1 + number) / (10 + number))
        expected = jax.tree.map(lambda old, new, kept=kept: kept * old + (1 - kept) * new, expected, now)
        assert set(averaged(state.variables)) == {"params", "templates", "coefficients", "batch_stats"}
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), averaged(state.variables), expected
        )
