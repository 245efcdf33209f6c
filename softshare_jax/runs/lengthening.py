"""A deeper or shallower network of a folded run: its loops run more or less often."""

import dataclasses

import jax
import jax.numpy as jnp

from softshare_jax import sharing
from softshare_jax.config import Config
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.runs.load import Trained
from softshare_jax.training.experiment import make_experiment
from softshare_jax.training.randomness import key


def with_layers(trained: Trained, layers: int, config: Config | None = None) -> Trained:
    """Returns a folded run with another number of layers.

    Args:
        trained: the folded run.
        layers: depth in the name of the new network, such as 80 for ``sgated-80-24``.
        config: replaces the run's config, except for the name of the network.

    Raises:
        UserError: the network has no depth in its name, or its loops do not make that many layers.
    """
    plan, variables = trained.experiment.plan, trained.variables
    before = trained.experiment.config.model
    config = dataclasses.replace(config or trained.experiment.config, model=zoo.at_depth(before, layers))
    if not plan.groups:
        raise UserError(f"{before} shares nothing, so it has no loops that could make {layers} layers")
    target = make_experiment(config)
    example = jnp.zeros((1, *target.task.input_shape))
    params = jax.eval_shape(lambda: target.network.init(key(0), example))["params"]
    deeper = target.plan.groups[0].layers >= plan.groups[0].layers
    change = sharing.lengthen if deeper else sharing.shorten
    try:
        plan, variables = change(plan, variables, target.plan, params)
    except sharing.PlanError as error:
        raise UserError(f"{before} cannot become {config.model}: {error}") from error
    return Trained(make_experiment(config, plan), trained.step, variables)
