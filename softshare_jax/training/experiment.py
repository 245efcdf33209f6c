"""A config made into functions: network, plan, initial state, steps and evaluation."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding

from softshare_jax import sharing
from softshare_jax.config.schema import Cifar, Config, ImageNet
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.training import mesh as mesh_lib
from softshare_jax.training.durations import to_steps
from softshare_jax.training.evaluator import Evaluator
from softshare_jax.training.optimizer import at_step, make_optimizer
from softshare_jax.training.randomness import key, stream
from softshare_jax.training.steps import (
    AVERAGE,
    TrainState,
    batch_of,
    make_train_step,
    trainable,
)
from softshare_jax.training.tasks import ResidentTask, StreamedTask, Task, make_task

# Networks for small images take images of up to so many pixels a side.
SMALL = 64


class Experiment:
    """What the loop, the fold pass and the report need to know about a run.

    Attributes:
        config: the validated config.
        task: data, loss and metrics.
        network: the plain network.
        plan: which layers share.
        model: the network under ``SoftShare`` with that plan.
        target: of a run that is being annealed, the experiment that it becomes.
        steps_per_epoch, total_steps, phase_steps: lengths in steps.
    """

    def __init__(
        self,
        config: Config,
        plan: sharing.Plan | None = None,
        devices: Sequence[jax.Device] | None = None,
        target: "Experiment | None" = None,
    ):
        """Builds the experiment; nothing is computed or compiled yet.

        Args:
            config: a validated config.
            plan: as stored in a workdir; ``None`` to make it by the network's own rule.
            devices: to compute on; ``None`` for all there are.
            target: what the run becomes when it has been annealed; ``None`` where that is done.

        Raises:
            UserError: the config names no network, or asks for what the network cannot do.
        """
        self.config, self.target = config, target
        self.task: Task = target.task if target else make_task(config)
        if plan is None:
            _check_images(config)
        self.network = _build(config, self.task.classes)
        self.mesh: Mesh = target.mesh if target else mesh_lib.data_mesh(config.batch_size, devices)
        try:
            self.plan = (plan or zoo.named(config.model).rule)(self._plain_shapes()["params"])
        except sharing.PlanError as error:
            earlier = "an earlier version (0.1) may have made this plan: " if plan else ""
            raise UserError(f"{config.model}: {earlier}{error}") from error
        for field in ("recurrence", "anneal"):
            if getattr(config.sharing, field) and not self.plan.groups:
                raise UserError(f"config.sharing.{field} is for shared layers, {config.model} has none")
        # What is annealed starts as the plain network.
        self.coefficients = sharing.INITIALIZERS["identity" if target else config.sharing.coefficients]
        self.model = sharing.SoftShare(self.network, self.plan, self.coefficients)
        self.steps_per_epoch = config.data.train_examples // config.batch_size
        self.total_steps = self.steps_of("duration", config.duration)
        phase = self.task.phase_duration
        self.phase_steps = self.total_steps if phase is None else self.steps_of("data.phase", phase)
        warmup, anneal = config.optimizer.warmup, config.sharing.anneal
        self.optimizer = make_optimizer(
            config.optimizer,
            self.total_steps,
            self.steps_of("optimizer.warmup", warmup) if warmup else 0,
        )
        self.annealing_steps = self.steps_of("sharing.anneal", anneal) if anneal else 0
        if self.annealing_steps > self.total_steps:
            raise UserError(f"config.sharing.anneal is {anneal!r}, longer than config.duration")
        if target:
            fade = sharing.anneal_to(self.plan, target.plan.templates, self.annealing_steps)
            self.optimizer = optax.chain(self.optimizer, fade)

    def steps_of(self, field: str, duration: str) -> int:
        """Returns a duration of the config in steps."""
        return to_steps(duration, self.steps_per_epoch, f"config.{field}")

    def at(self, step: int) -> "Experiment":
        """Returns the experiment that a run is in after ``step`` steps.

        It is this one, but for a run that is annealed: up to ``annealing_steps`` it has a template for
        each layer, and what k templates cannot say fades.
        """
        if step < self.annealing_steps:
            return self if self.target else self._unshared
        return self.target or self

    def take_over(self, state: TrainState) -> TrainState:
        """Returns the state with which a run goes on that has just been annealed.

        The network computes what it did, now with k templates a group; the optimiser's moments, which
        are of other templates, start anew.
        """
        return self._take_over(state)

    def phase_at(self, step: int) -> int:
        """Returns the curriculum phase that trains the step after ``step``; the last one stays on."""
        return min(step // self.phase_steps, self.task.phases - 1)

    def init_state(self) -> TrainState:
        """Returns the initial state, on all devices."""
        return self._init()

    def state_shapes(self) -> TrainState:
        """Returns the state's shapes, dtypes and shardings, without computing it."""
        shapes = jax.eval_shape(self._init_state)
        return jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            shapes,
            self._shardings,
        )

    def shapes_at(self, step: int) -> TrainState:
        """Returns the shapes of the state after ``step`` steps, which annealing changes once."""
        return self.at(step).state_shapes()

    def fresh_state(self, step: int | jax.Array, variables: dict[str, Any]) -> TrainState:
        """Returns a state with given variables and an optimiser that has seen nothing.

        But for the learning rate, which is where the schedule has it at that step.
        """
        opt_state = self.optimizer.init(trainable(variables))
        if self.config.optimizer.average:
            variables = {**variables, AVERAGE: variables}
        return TrainState(jnp.int32(step), variables, at_step(opt_state, step))

    def epoch_order(self, epoch: int) -> jax.Array:
        """Returns the order of an epoch: a permutation of the examples, ``[N]`` int32."""
        return self._order(epoch)

    def train_data(self, phase: int) -> dict[str, jax.Array]:
        """Returns the training examples of a phase, on all devices."""
        assert isinstance(self.task, ResidentTask)
        return mesh_lib.place(self.mesh, self.task.load("train", phase))

    def no_metrics(self):
        """Returns the metrics of no examples, on all devices."""
        return mesh_lib.place(self.mesh, self.task.metrics.empty())

    @functools.cached_property
    def train_steps(self):
        """The compiled ``(state, metrics, data, order, count) -> (state, metrics)``.

        Data and order are what a feed returns. It takes ``count`` steps in one dispatch and adds up
        their metrics; all within one epoch and phase. The count is not a constant of the compiled
        code.
        """
        # The same network, of which each device sees a part of the batch.
        split_network = _build(self.config, self.task.classes, mesh_lib.AXIS)
        step = make_train_step(
            sharing.SoftShare(split_network, self.plan, self.coefficients),
            self.plan,
            self.task,
            self.optimizer,
            self.config.sharing.recurrence,
            self.config.seed,
            self.config.optimizer.average,
            self.mesh,
            self.config.gradient_dtype,
            self.config.shard_state,
            self.config.auxiliary,
            # In a straight line from no path to this share of them.
            optax.linear_schedule(0.0, self.config.drop_path, self.total_steps)
            if self.config.drop_path
            else None,
        )
        batch_sharding = mesh_lib.split(self.mesh)

        def one(carry, data, order):
            state, metrics = carry
            batch = batch_of(data, order, state.step, self.config.batch_size)
            state, measured = step(state, jax.lax.with_sharding_constraint(batch, batch_sharding))
            return state, metrics.merge(measured)

        def single(state, metrics, data, order, count):
            del count
            return one((state, metrics), data, order)

        def several(state, metrics, data, order, count):
            return jax.lax.fori_loop(0, count, lambda _, carry: one(carry, data, order), (state, metrics))

        # A loop on the device saves dispatches, but XLA:CPU runs convolutions in a loop
        # more than ten times slower.
        return jax.jit(
            single if self.steps_per_dispatch == 1 else several,
            donate_argnums=(0, 1),
            out_shardings=(self._shardings, mesh_lib.replicated(self.mesh)),
        )

    @property
    def steps_per_dispatch(self) -> int:
        """The most steps that one dispatch takes; 0 in the config chooses by backend and task."""
        if isinstance(self.task, StreamedTask):
            return 1
        return self.config.steps_per_dispatch or (1 if jax.default_backend() == "cpu" else 32)

    @functools.cached_property
    def evaluator(self) -> Evaluator:
        """What measures plain networks on the data of the task."""
        return Evaluator(self.network, self.task, self.mesh, self.config.batch_size)

    @functools.cached_property
    def to_plain(self):
        """The compiled ``variables -> variables of the plain network``."""
        return jax.jit(
            functools.partial(sharing.to_dense, self.plan), out_shardings=mesh_lib.replicated(self.mesh)
        )

    @functools.cached_property
    def similarity(self):
        """The compiled ``variables -> {measure: {group: [L, L]}}``, on all devices."""

        def matrices(variables):
            return {m: sharing.similarity(self.plan, variables, m) for m in sharing.MEASURES}

        return jax.jit(matrices, out_shardings=mesh_lib.replicated(self.mesh))

    @functools.cached_property
    def _init(self):
        return jax.jit(self._init_state, out_shardings=self._shardings)

    @functools.cached_property
    def _shardings(self) -> TrainState:
        """How the state lies on the mesh."""
        shapes = jax.eval_shape(self._init_state)
        specs = mesh_lib.state_specs(self.mesh, shapes, self.config.shard_state)
        return jax.tree.map(functools.partial(NamedSharding, self.mesh), specs)

    @functools.cached_property
    def _unshared(self) -> "Experiment":
        layers = {group.name: group.layers for group in self.plan.groups}
        return Experiment(self.config, self.plan.with_templates(layers), target=self)

    @functools.cached_property
    def _take_over(self):
        def resized(variables):
            return sharing.resize(self._unshared.plan, variables, self.plan.templates)[1]

        def take_over(state: TrainState) -> TrainState:
            average = state.variables.get(AVERAGE)
            network = {name: tree for name, tree in state.variables.items() if name != AVERAGE}
            fresh = self.fresh_state(state.step, resized(network))
            if average is None:
                return fresh
            return fresh.replace(variables={**fresh.variables, AVERAGE: resized(average)})

        return jax.jit(take_over, out_shardings=self._shardings)

    def _init_state(self) -> TrainState:
        rngs = {"params": stream(self.config.seed, "init")}
        return self.fresh_state(0, dict(self.model.init(rngs, self._example())))

    @functools.cached_property
    def _order(self):
        number, seed = self.config.data.train_examples, self.config.seed

        def permutation(epoch):
            return jax.random.permutation(stream(seed, "order", epoch), number)

        return jax.jit(permutation, out_shardings=mesh_lib.replicated(self.mesh))

    def _plain_shapes(self):
        return jax.eval_shape(lambda: self.network.init(key(0), self._example()))

    def _example(self) -> jax.Array:
        return jnp.zeros((1, *self.task.input_shape))


def _check_images(config: Config) -> None:
    """Makes sure that the network of a new run is made for the images of its data set.

    Earlier versions trained any network on any images, and such runs go on.
    """
    named = zoo.named(config.model)
    if not named.classifies:
        return  # which is said elsewhere
    side, _, _ = named.input_shape
    if isinstance(config.data, Cifar):
        small, wrong = True, side > SMALL
    elif isinstance(config.data, ImageNet):
        # Smaller ones than those of ImageNet's networks are a choice.
        small, wrong = False, side <= SMALL < config.data.image_size
    else:
        return
    if wrong:
        others = "wrn-28-10" if small else "wrn-50-2"
        raise UserError(
            f"{config.model} is a network for images of {side}x{side} pixels, which {config.data.name} does "
            f"not have: take one such as {others} (docs/networks.md)"
        )


def _build(config: Config, classes: int | None, axis_name: str | None = None) -> nn.Module:
    """Builds the network of a config for a task with so many classes.

    With ``axis_name`` it is to run where each device sees a part of the batch.
    """
    named = zoo.named(config.model)
    if named.classifies is (classes is None):
        answer = "with a class" if named.classifies else "for every pixel"
        raise UserError(f"{config.model} answers {answer}, which is not what {config.data.name} asks")
    # XLA:CPU runs convolutions in a loop more than ten times slower.
    scan = config.scan_blocks == "yes" or (config.scan_blocks == "auto" and jax.default_backend() != "cpu")
    options = zoo.Options(
        dtype=jnp.dtype(config.dtype),
        num_classes=classes or 0,
        dropout=config.dropout,
        scan=scan,
        zero_residual=config.zero_residual,
        auxiliary=config.auxiliary,
        drop_path=config.drop_path,
        axis_name=axis_name,
    )
    return named.build(options)
