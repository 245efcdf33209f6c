"""The compiled functions of a run, each compiled at its first call."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding

from softshare_jax import sharing
from softshare_jax.training import mesh as mesh_lib
from softshare_jax.training.state import TrainState
from softshare_jax.training.steps import TrainStep
from softshare_jax.training.tasks.batching import Fed, take


@dataclasses.dataclass(frozen=True, eq=False)
class Programs:
    """Compiled functions over the devices of a mesh.

    Attributes:
        mesh: the devices.
        step: the training step, split over them.
        initial: returns the initial state; it is traced.
        batch_size: of a training step.
        steps_per_dispatch: the most steps of a dispatch.
    """

    mesh: Mesh
    step: TrainStep
    initial: Callable[[], TrainState]
    batch_size: int
    steps_per_dispatch: int

    @property
    def _whole(self) -> NamedSharding:
        return mesh_lib.replicated(self.mesh)

    def init_state(self) -> TrainState:
        """Returns the initial state, on all devices."""
        return jax.jit(self.initial, out_shardings=self.state_shardings)()

    def state_shapes(self) -> TrainState:
        """Returns shapes, dtypes and shardings of the state, without computing it."""
        return jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            jax.eval_shape(self.initial),
            self.state_shardings,
        )

    @functools.cached_property
    def state_shardings(self) -> TrainState:
        """How the state lies on the mesh."""
        specs = mesh_lib.state_specs(self.mesh, jax.eval_shape(self.initial), self.step.shard_state)
        return jax.tree.map(functools.partial(NamedSharding, self.mesh), specs)

    def no_metrics(self) -> Any:
        """Returns the metrics of no examples, on all devices."""
        return mesh_lib.place(self.mesh, self.step.task.metrics.empty())

    @functools.cached_property
    def train_steps(self):
        """The compiled ``(state, metrics, fed, count) -> (state, metrics)``; see ``feed`` of a task.

        It takes ``count`` steps, all within one epoch and phase, in one dispatch and adds up their metrics.
        The count is an argument of the compiled code.
        """
        batch_sharding = mesh_lib.split(self.mesh)

        def one(carry, fed: Fed):
            state, metrics = carry
            batch = take(fed, state.step, self.batch_size)
            state, measured = self.step(state, jax.lax.with_sharding_constraint(batch, batch_sharding))
            return state, metrics.merge(measured)

        def single(state, metrics, fed, count):
            del count
            return one((state, metrics), fed)

        def several(state, metrics, fed, count):
            return jax.lax.fori_loop(0, count, lambda _, carry: one(carry, fed), (state, metrics))

        # A loop on the device saves dispatches, but XLA:CPU runs convolutions in a loop more than ten times
        # slower.
        return jax.jit(
            single if self.steps_per_dispatch == 1 else several,
            donate_argnums=(0, 1),
            out_shardings=(self.state_shardings, self._whole),
        )

    @functools.cached_property
    def to_dense(self):
        """The compiled ``variables -> variables of the unshared network``."""
        return jax.jit(functools.partial(sharing.to_dense, self.step.plan), out_shardings=self._whole)

    @functools.cached_property
    def similarity(self):
        """The compiled ``variables -> {measure: {group: [L, L]}}``."""
        plan = self.step.plan

        def matrices(variables):
            return {m: sharing.similarity(plan, variables, m) for m in sharing.MEASURES}

        return jax.jit(matrices, out_shardings=self._whole)
