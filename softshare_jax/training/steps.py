"""The training and evaluation steps: pure functions of state and batch."""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from clu import metrics as clu_metrics
from flax import linen as nn
from jax.sharding import Mesh

from softshare_jax.models.network import AUXILIARY
from softshare_jax.sharing import Plan, SoftShare, recurrence_penalty, to_dense
from softshare_jax.training.as_loop import LoopTraining
from softshare_jax.training.gradients import split_over
from softshare_jax.training.mesh import state_specs
from softshare_jax.training.randomness import stream
from softshare_jax.training.state import AVERAGE, TRAINABLE, Batch, TrainState, trainable, without_average
from softshare_jax.training.tasks.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainStep:
    """The pure step ``(state, batch) -> (state, metrics of the batch)``.

    Attributes:
        model: the soft-shared network; with a mesh, it must be built with the name of the mesh's axis.
        plan: which layers share.
        task: inputs, loss and metrics.
        optimizer: optimizer of the trainable collections.
        seed: the run's seed; randomness in the step is a function of the seed and the step's number.
        recurrence: lambda_R, the weight of the recurrence regularizer; 0: none.
        signed: whether the regularizer sums cosines instead of their absolute values.
        ema_decay: decay of the EMA of the variables; 0: no EMA.
        aux_loss_weight: loss weight of the auxiliary classifier; 0 if the network has none.
        drop_path_rate: step -> probability of dropping a path; ``None`` if the network has no drop-path.
        loop: how a folded network trains as a loop; ``None`` to train it as any other.
        mesh: the devices that split the batch; their number changes only rounding. ``None`` for a step on one
            device, without collectives.
        gradient_dtype: all-reduce precision of the gradients.
        shard_state: whether ``state_specs`` splits large leaves of the state over the mesh.
    """

    model: SoftShare
    plan: Plan
    task: Task
    optimizer: optax.GradientTransformation
    seed: int
    recurrence: float = 0.0
    signed: bool = False
    ema_decay: float = 0.0
    aux_loss_weight: float = 0.0
    drop_path_rate: optax.Schedule | None = None
    loop: LoopTraining | None = None
    mesh: Mesh | None = None
    gradient_dtype: str = "float32"
    shard_state: bool = False

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, clu_metrics.Collection]:
        """Takes a step on a batch ``[B, ...]``."""
        network = without_average(state.variables)
        weights = trainable(network)
        statistics = {name: tree for name, tree in network.items() if name not in TRAINABLE}
        inputs = self.task.augment(stream(self.seed, "augment", state.step), self.task.inputs(batch))
        key = stream(self.seed, "dropout", state.step)
        gradient = self._gradient
        if self.mesh is not None:
            specs = state_specs(self.mesh, weights, self.shard_state)
            gradient = split_over(self.mesh, gradient, specs, self.gradient_dtype)
        gradients, updated, (logits, losses) = gradient(
            weights, (statistics, key, state.step), (inputs, batch)
        )
        updates, opt_state = self.optimizer.update(gradients, state.opt_state, weights)
        variables = {**network, **updated, **optax.apply_updates(weights, updates)}
        if self.ema_decay:
            # The decay starts small, so that the initial weights do not count.
            decay = jnp.minimum(self.ema_decay, (1 + state.step) / (10 + state.step))
            variables[AVERAGE] = optax.incremental_update(variables, state.variables[AVERAGE], 1 - decay)
        metrics = _measure(self.task, logits, losses, batch, jnp.ones(losses.shape, bool))
        return TrainState(state.step + 1, variables, opt_state), metrics

    def _gradient(self, weights, others, examples):
        """Returns gradients, updated statistics, and logits and losses of the examples of one device."""
        loss = lambda weights: self._objective(weights, others, examples)  # noqa: E731 (an argument)
        gradients, (updated, outputs) = jax.grad(loss, has_aux=True)(weights)
        return gradients, updated, outputs

    def _objective(self, weights, others, examples):
        (statistics, key, step), (inputs, batch) = others, examples
        variables = {**statistics, **weights}
        if self.loop:
            objective, outputs, updated = self._many_answers(self.loop, variables, inputs, batch, step)
        else:
            objective, outputs, updated = self._one_answer(variables, inputs, batch, key, step)
        if self.recurrence:
            objective -= self.recurrence * recurrence_penalty(self.plan, weights, self.signed)
        return objective, ({name: updated[name] for name in statistics}, outputs)

    def _one_answer(self, variables, inputs, batch, key, step):
        """Returns the mean loss, logits and losses, and collections."""
        # Networks without drop-path reject the argument, and only auxiliary classifiers sow intermediates.
        scheduled = {"drop_path": self.drop_path_rate(step)} if self.drop_path_rate else {}
        auxiliary = ["intermediates"] if self.aux_loss_weight else []
        statistics = [name for name in variables if name not in TRAINABLE]
        outputs = self.model.apply(
            variables,
            inputs,
            train=True,
            mutable=[*statistics, *auxiliary],
            rngs={"dropout": key},
            **scheduled,
        )
        logits, updated = cast(tuple[Any, dict[str, Any]], outputs)
        losses = self.task.loss(logits, batch, train=True)
        objective = jnp.mean(losses)
        if self.aux_loss_weight:
            (aux_logits,) = updated["intermediates"][AUXILIARY]
            objective += self.aux_loss_weight * jnp.mean(self.task.loss(aux_logits, batch, train=True))
        return objective, (logits, losses), updated

    def _many_answers(self, loop: LoopTraining, variables, inputs, batch, step):
        """Returns the weighted loss of all answers, logits and losses of the last one, and collections."""
        dense, key = to_dense(self.plan, variables), stream(self.seed, "loop", step)
        answers, updated = loop.run(cast(Any, self.model.model), dense, inputs, key, step)
        losses = jax.vmap(lambda logits: self.task.loss(logits, batch, train=True))(answers.logits)
        objective = jnp.dot(answers.weights, jnp.mean(losses, axis=1))
        return objective, (answers.logits[answers.last], losses[answers.last]), updated


@dataclasses.dataclass(frozen=True, eq=False)
class EvalStep:
    """The pure step ``(variables, batch, mask) -> (metrics, logits)`` of an unshared network.

    Attributes:
        network: the unshared network.
        task: inputs, loss and metrics.
    """

    network: nn.Module
    task: Task

    def __call__(
        self, variables: dict[str, Any], batch: Batch, mask: jax.Array
    ) -> tuple[clu_metrics.Collection, jax.Array]:
        """Evaluates a batch; the mask ``[B]`` is false for the padding of the last batch."""
        logits = cast(jax.Array, self.network.apply(variables, self.task.inputs(batch), train=False))
        return _measure(self.task, logits, self.task.loss(logits, batch), batch, mask), logits


def _measure(task, logits, losses, batch, mask) -> clu_metrics.Collection:
    return task.metrics.single_from_model_output(
        logits=logits, labels=batch["labels"], loss=losses, mask=mask
    )
