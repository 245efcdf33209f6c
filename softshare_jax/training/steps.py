"""The training and evaluation steps: pure functions of state and batch."""

from collections.abc import Callable
from typing import Any, cast

import flax
import jax
import jax.numpy as jnp
import optax
from clu import metrics as clu_metrics
from flax import linen as nn
from jax.sharding import Mesh

from softshare_jax.models.network import AUXILIARY
from softshare_jax.sharing import Plan, SoftShare, recurrence_penalty
from softshare_jax.training.gradients import split_over
from softshare_jax.training.mesh import state_specs
from softshare_jax.training.randomness import stream
from softshare_jax.training.tasks import Task

TRAINABLE = ("params", "templates", "coefficients")
# The collection that holds the moving average of all others, where a run keeps one.
AVERAGE = "average"
Batch = dict[str, jax.Array]


class TrainState(flax.struct.PyTreeNode):
    """All that training changes.

    Attributes:
        step: steps taken, int32 scalar. Data order and randomness are functions of it, so
            it is all that a resumed run needs to go on bit for bit.
        variables: collections of the network: ``params``, ``templates``, ``coefficients``,
            ``batch_stats``; and ``average``, the moving average of all these, where there is one.
        opt_state: the optimiser's state.
    """

    step: jax.Array
    variables: dict[str, Any]
    opt_state: optax.OptState


def trainable(variables: dict[str, Any]) -> dict[str, Any]:
    """Returns the collections that the optimiser updates."""
    return {name: variables[name] for name in TRAINABLE if name in variables}


def averaged(variables: dict[str, Any]) -> dict[str, Any]:
    """Returns the network that a run is judged by: the moving average where it keeps one."""
    return variables.get(AVERAGE, variables)


def make_train_step(
    model: SoftShare,
    plan: Plan,
    task: Task,
    optimizer: optax.GradientTransformation,
    recurrence: float,
    seed: int,
    average: float = 0.0,
    mesh: Mesh | None = None,
    gradient_dtype: str = "float32",
    shard_state: bool = False,
    auxiliary: float = 0.0,
    drop_path: optax.Schedule | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, clu_metrics.Collection]]:
    """Returns the pure step ``(state, batch) -> (state, metrics of the batch)``.

    Args:
        model: the soft-shared network; with a mesh, built with the name of its axis.
        plan: its plan.
        task: inputs, loss and metrics.
        optimizer: over the trainable collections.
        recurrence: lambda_R, the weight of the recurrence regulariser; 0 for none.
        seed: of the run; randomness in the step is a function of it and of the step's number.
        average: how much the moving average keeps of itself at each step; 0 for no average.
        mesh: the devices that split the batch; the result does not depend on their number but for
            rounding. ``None`` for a step that is one device's own, to be run as it is.
        gradient_dtype: in which gradients travel between devices.
        shard_state: whether large leaves of the state lie split over the mesh, as ``state_specs`` has it.
        auxiliary: weight of the loss of the network's auxiliary classifier; 0 for a network without.
        drop_path: step -> probability with which a path drops out; ``None`` for a network without.
    """

    def train_step(state: TrainState, batch: Batch):
        network = {name: tree for name, tree in state.variables.items() if name != AVERAGE}
        others = [name for name in network if name not in TRAINABLE]
        # Only networks that have these know the argument, and the collection.
        scheduled = {"drop_path": drop_path(state.step)} if drop_path else {}
        collections = [*others, "intermediates"] if auxiliary else others
        inputs = task.augment(stream(seed, "augment", state.step), task.inputs(batch))

        def gradient(weights, others_and_key, inputs_and_batch):
            (statistics, key), (inputs, batch) = others_and_key, inputs_and_batch

            def loss(weights):
                outputs = model.apply(
                    {**statistics, **weights},
                    inputs,
                    train=True,
                    mutable=collections,
                    rngs={"dropout": key},
                    **scheduled,
                )
                logits, updated = cast(tuple[jax.Array, dict[str, Any]], outputs)
                losses = task.loss(logits, batch, train=True)
                objective = jnp.mean(losses)
                if auxiliary:
                    (logits_midway,) = updated.pop("intermediates")[AUXILIARY]
                    objective += auxiliary * jnp.mean(task.loss(logits_midway, batch, train=True))
                if recurrence:
                    objective -= recurrence * recurrence_penalty(plan, weights)
                return objective, (updated, (logits, losses))

            gradients, (updated, measured) = jax.grad(loss, has_aux=True)(weights)
            return gradients, updated, measured

        weights = trainable(network)
        if mesh is not None:
            gradient = split_over(mesh, gradient, state_specs(mesh, weights, shard_state), gradient_dtype)
        statistics = {name: network[name] for name in others}
        key = stream(seed, "dropout", state.step)
        gradients, updated, (logits, losses) = gradient(weights, (statistics, key), (inputs, batch))
        updates, opt_state = optimizer.update(gradients, state.opt_state, weights)
        variables = {**network, **updated, **optax.apply_updates(weights, updates)}
        if average:
            # It follows closely at first, when what it started from is worth nothing.
            keep = jnp.minimum(average, (1 + state.step) / (10 + state.step))
            variables[AVERAGE] = optax.incremental_update(variables, state.variables[AVERAGE], 1 - keep)
        metrics = _measure(task, logits, losses, batch, jnp.ones(losses.shape, bool))
        return TrainState(state.step + 1, variables, opt_state), metrics

    return train_step


def make_eval_step(
    model: nn.Module, task: Task
) -> Callable[[dict[str, Any], Batch, jax.Array], tuple[clu_metrics.Collection, jax.Array]]:
    """Returns the pure step ``(variables, batch, mask) -> (metrics, logits)`` of a plain network.

    The mask ``[B]`` is false for the padding of a last batch, which counts for nothing.
    """

    def eval_step(variables: dict[str, Any], batch: Batch, mask: jax.Array):
        logits = cast(jax.Array, model.apply(variables, task.inputs(batch), train=False))
        return _measure(task, logits, task.loss(logits, batch), batch, mask), logits

    return eval_step


def take_batch(data: Batch, order: jax.Array, step: jax.Array, batch_size: int) -> Batch:
    """Returns the examples of a step.

    Args:
        data: arrays ``[N, ...]``.
        order: the epoch's permutation ``[N]``.
        step: steps taken before, in the whole run.
        batch_size: B; the N mod B examples at the end of the order wait for another epoch.
    """
    start = (step % (order.size // batch_size)) * batch_size
    chosen = jax.lax.dynamic_slice_in_dim(order, start, batch_size)
    return {name: array[chosen] for name, array in data.items()}


def batch_of(data: Batch, order: jax.Array | None, step: jax.Array, batch_size: int) -> Batch:
    """Returns the examples of a step: gathered from a data set, or those that came from the host."""
    return data if order is None else take_batch(data, order, step, batch_size)


def _measure(task, logits, losses, batch, mask) -> clu_metrics.Collection:
    return task.metrics.single_from_model_output(
        logits=logits, labels=batch["labels"], loss=losses, mask=mask
    )
