"""An experiment: the task, network, plan, schedule and optimizer of a config."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh

from softshare_jax import sharing
from softshare_jax.config import Config
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.models.anytime import Anytime
from softshare_jax.sharing.initializers import Initializer
from softshare_jax.training import mesh as mesh_lib
from softshare_jax.training.as_loop import LoopTraining
from softshare_jax.training.disturbance import Disturbance
from softshare_jax.training.evaluator import Evaluator
from softshare_jax.training.network import build_network, check_image_size, convolution_of
from softshare_jax.training.optimizer import at_step, make_optimizer
from softshare_jax.training.programs import Programs
from softshare_jax.training.randomness import key, stream
from softshare_jax.training.schedule import Schedule, make_schedule
from softshare_jax.training.state import AVERAGE, TrainState, trainable
from softshare_jax.training.steps import TrainStep
from softshare_jax.training.tasks import make_task
from softshare_jax.training.tasks.batching import Batching
from softshare_jax.training.tasks.task import Task


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
    """What is trained and how, for one plan. An experiment is immutable.

    Attributes:
        config: the validated config.
        task: data, loss and metrics.
        network: the unshared network.
        plan: which layers share.
        coefficients: initializer of the coefficients.
        schedule: durations and intervals in steps.
        optimizer: optimizer of the trainable collections.
        mesh: the devices.
    """

    config: Config
    task: Task
    network: nn.Module
    plan: sharing.Plan
    coefficients: Initializer
    schedule: Schedule
    optimizer: optax.GradientTransformation
    mesh: Mesh

    @property
    def model(self) -> sharing.SoftShare:
        """The network under ``SoftShare``."""
        return sharing.SoftShare(self.network, self.plan, self.coefficients)

    @property
    def batching(self) -> Batching:
        """How batches are drawn and placed."""
        return Batching(self.mesh, self.config.batch_size, self.config.seed, self.schedule)

    @property
    def train_step(self) -> TrainStep:
        """The pure training step, split over the mesh."""
        config = self.config
        # The same network, for devices that each see a part of the batch.
        network = build_network(config, self.task.classes, self.mesh, mesh_lib.AXIS)
        drop_path = optax.linear_schedule(0.0, config.drop_path_rate, self.schedule.total)
        return TrainStep(
            model=sharing.SoftShare(network, self.plan, self.coefficients),
            plan=self.plan,
            task=self.task,
            optimizer=self.optimizer,
            seed=config.seed,
            recurrence=config.sharing.recurrence,
            signed=config.sharing.signed,
            ema_decay=config.optimizer.ema_decay,
            aux_loss_weight=config.aux_loss_weight,
            drop_path_rate=drop_path if config.drop_path_rate else None,
            loop=self._loop,
            mesh=self.mesh,
            gradient_dtype=config.gradient_dtype,
            shard_state=config.shard_state,
        )

    @property
    def _loop(self) -> LoopTraining | None:
        """How the network trains as a loop; ``None`` before it is folded."""
        loop = self.config.loop
        if not loop.weight or all(group.assignment is None for group in self.plan.groups):
            return None
        total = self.schedule.total
        noise = optax.linear_schedule(0.0, loop.noise, total / 3) if loop.noise else None
        disturbance = Disturbance(noise, loop.swap_rate, loop.update_rate, mesh_lib.AXIS)
        return LoopTraining(loop.weight, loop.detach_rate, loop.window, disturbance)

    @property
    def convolution(self) -> str:
        """The implementation of convolutions, a key of ``CONVOLUTIONS``."""
        return convolution_of(self.config, self.mesh)

    @property
    def steps_per_dispatch(self) -> int:
        """The maximum number of steps per dispatch; with 0 in the config it depends on the backend."""
        chosen = self.config.steps_per_dispatch or (1 if mesh_lib.platform(self.mesh) == "cpu" else 32)
        return self.task.steps_per_dispatch or chosen

    @functools.cached_property
    def evaluator(self) -> Evaluator:
        """Evaluates the unshared network on the task's data."""
        return Evaluator(self.network, self.task, self.batching)

    @functools.cached_property
    def programs(self) -> Programs:
        """The compiled functions."""
        return Programs(
            mesh=self.mesh,
            step=self.train_step,
            initial=self._initial_state,
            batch_size=self.config.batch_size,
            steps_per_dispatch=self.steps_per_dispatch,
        )

    def fresh_state(self, step: int | jax.Array, variables: dict[str, Any]) -> TrainState:
        """Returns a state with given variables and a new optimizer state, with its schedule at ``step``."""
        opt_state = self.optimizer.init(trainable(variables))
        if self.config.optimizer.ema_decay:
            variables = {**variables, AVERAGE: variables}
        return TrainState(jnp.int32(step), variables, at_step(opt_state, step))

    def _initial_state(self) -> TrainState:
        example = jnp.zeros((1, *self.task.input_shape))
        variables = self.model.init({"params": stream(self.config.seed, "init")}, example)
        return self.fresh_state(0, dict(variables))


def make_experiment(
    config: Config, plan: sharing.Plan | None = None, devices: Sequence[jax.Device] | None = None
) -> Experiment:
    """Builds an experiment; nothing is computed or compiled yet.

    Args:
        config: a validated config.
        plan: a stored plan; ``None`` to apply the network's rule.
        devices: devices to compute on; ``None`` for all.

    Raises:
        UserError: the network is unknown or does not support an option.
    """
    task = make_task(config)
    if plan is None:
        check_image_size(config)
    mesh = mesh_lib.data_mesh(config.batch_size, devices)
    network = build_network(config, task.classes, mesh)
    try:
        plan = (plan or sharing_rule(config))(_shapes(network, task.input_shape)["params"])
    except sharing.PlanError as error:
        earlier = "an earlier version (0.1) may have made this plan: " if plan else ""
        raise UserError(f"{config.model}: {earlier}{error}") from error
    for field in ("recurrence", "per_channel", "rank", "anneal"):
        if getattr(config.sharing, field) and not plan.groups:
            raise UserError(f"config.sharing.{field} needs shared layers, but {config.model} has none")
    if config.loop.weight and not isinstance(network, Anytime):
        raise UserError(
            f"config.loop.weight is {config.loop.weight}, and {config.model} cannot answer after every "
            "layer; choose a network such as sgated-20-24"
        )
    if config.loop.window and not config.loop.detach_rate:
        raise UserError(
            f"config.loop.window is {config.loop.window}, and without config.loop.detach_rate no layer after "
            "these would train"
        )
    if config.loop.swap_rate and not config.loop.detach_rate:
        raise UserError(
            f"config.loop.swap_rate is {config.loop.swap_rate}, and without config.loop.detach_rate no layer "
            "would see the input of another example"
        )
    if config.loop.swap_rate and config.batch_size % (2 * mesh.size):
        raise UserError(
            "config.loop.swap_rate needs an even number of examples on each device, and config.batch_size "
            f"is {config.batch_size} on {mesh.size} device(s)"
        )
    schedule = make_schedule(config, task.phases, task.phase_duration)
    return Experiment(
        config=config,
        task=task,
        network=network,
        plan=plan,
        coefficients=sharing.INITIALIZERS[config.sharing.coefficients],
        schedule=schedule,
        optimizer=make_optimizer(config.optimizer, schedule.total, schedule.warmup),
        mesh=mesh,
    )


def sharing_rule(config: Config) -> sharing.Rule:
    """Returns the network's rule, with the form of sharing of the config."""
    rule, form = zoo.named(config.model).rule, config.sharing

    def with_form(params: Any) -> sharing.Plan:
        return sharing.Plan(
            tuple(
                dataclasses.replace(group, per_channel=form.per_channel, rank=form.rank)
                for group in rule(params).groups
            )
        )

    return with_form


@functools.lru_cache(maxsize=16)
def _shapes(network: nn.Module, input_shape: tuple[int, ...]) -> Any:
    """Returns the shapes of a network's variables. A report makes several experiments of one network."""
    return jax.eval_shape(lambda: network.init(key(0), jnp.zeros((1, *input_shape))))
