"""The experiments that a run passes through: one, or two where the run is annealed."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import optax

from softshare_jax import sharing
from softshare_jax.config import Config
from softshare_jax.training.experiment import Experiment, make_experiment
from softshare_jax.training.state import AVERAGE, TrainState, without_average


@dataclasses.dataclass(frozen=True, eq=False)
class Stages:
    """A run's experiments by step.

    Attributes:
        final: the experiment that the run ends with.
        unshared: of an annealed run, the experiment before: a template for each layer, and an optimizer that
            shrinks what k templates cannot represent. ``None`` otherwise.
    """

    final: Experiment
    unshared: Experiment | None = None

    def at(self, step: int) -> Experiment:
        """Returns the experiment after ``step`` steps."""
        if self.unshared and step < self.final.schedule.annealing:
            return self.unshared
        return self.final

    def state_shapes(self, step: int) -> TrainState:
        """Returns shapes, dtypes and shardings of the state after ``step`` steps."""
        return self.at(step).programs.state_shapes()

    @functools.cached_property
    def take_over(self):
        """The compiled ``state of unshared -> state of final``, for the step at which annealing ends.

        Outputs are unchanged: groups now have k templates. The optimizer loses its history, which is of other
        templates.
        """
        final, unshared = self.final, self.unshared
        assert unshared is not None

        def resized(variables):
            return sharing.resize(unshared.plan, variables, final.plan.templates)[1]

        def take_over(state: TrainState) -> TrainState:
            fresh = final.fresh_state(state.step, resized(without_average(state.variables)))
            if AVERAGE not in state.variables:
                return fresh
            average = resized(state.variables[AVERAGE])
            return fresh.replace(variables={**fresh.variables, AVERAGE: average})

        return jax.jit(take_over, out_shardings=final.programs.state_shardings)


def make_stages(
    config: Config, plan: sharing.Plan | None = None, devices: Sequence[jax.Device] | None = None
) -> Stages:
    """Builds the stages of a run; arguments and errors are those of ``make_experiment``."""
    final = make_experiment(config, plan, devices)
    if not (steps := final.schedule.annealing):
        return Stages(final)
    layers = {group.name: group.layers for group in final.plan.groups}
    unshared = final.plan.with_templates(layers)
    shrink = sharing.anneal_to(unshared, final.plan.templates, steps)
    return Stages(
        final,
        dataclasses.replace(
            final,
            plan=unshared,
            coefficients=sharing.INITIALIZERS["identity"],
            optimizer=optax.chain(final.optimizer, shrink),
        ),
    )
