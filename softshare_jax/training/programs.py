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
        step: the training step, split over the devices.
        initial: traceable function that returns the initial state.
        batch_size: examples per training step.
        steps_per_dispatch: maximum number of steps per dispatch.
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
        return jax.jit(self._initial, out_shardings=self.state_shardings)()

    def state_shapes(self) -> TrainState:
        """Returns shapes, dtypes and shardings of the state, without computing it."""
        return jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            jax.eval_shape(self._initial),
            self.state_shardings,
        )

    @functools.cached_property
    def _initial(self):
        """``initial``, traced once for shapes and values."""
        return jax.jit(self.initial)

    @functools.cached_property
    def state_shardings(self) -> TrainState:
        """The shardings of the state."""
        specs = mesh_lib.state_specs(self.mesh, jax.eval_shape(self._initial), self.step.shard_state)
        return jax.tree.map(functools.partial(NamedSharding, self.mesh), specs)

    def no_metrics(self) -> Any:
        """Returns empty metrics, on all devices."""
        return mesh_lib.place(self.mesh, self.step.task.metrics.empty())

    @functools.cached_property
    def train_steps(self):
        """The compiled ``(state, metrics, fed, count) -> (state, metrics)``; see ``feed`` of a task.

        It takes ``count`` steps of one epoch and phase in one dispatch and accumulates their metrics. All
        counts use the same compiled program.
        """
        batch_sharding = mesh_lib.split(self.mesh)

        def one(carry, fed: Fed):
            state, metrics = carry
            batch = take(fed, state.step, self.batch_size)
            state, new = self.step(state, jax.lax.with_sharding_constraint(batch, batch_sharding))
            return state, metrics.merge(new)

        def single(state, metrics, fed, count):
            del count
            return one((state, metrics), fed)

        def several(state, metrics, fed, count):
            return jax.lax.fori_loop(0, count, lambda _, carry: one(carry, fed), (state, metrics))

        # XLA:CPU runs convolutions in a loop more than ten times slower, so a CPU gets no loop.
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
