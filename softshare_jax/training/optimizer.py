"""Optimizers, with the paper's rule for weight decay."""

import jax
import jax.numpy as jnp
import optax

from softshare_jax import config as config_lib
from softshare_jax import sharing


def make_optimizer(config: config_lib.Optimizer, steps: int, warmup: int = 0) -> optax.GradientTransformation:
    """Returns an optimizer over the collections of soft sharing.

    Weight decay acts on everything except the coefficients, batch-norm and biases included
    (Savarese & Maire 2019, section 4). For ``'sgd'`` (momentum 0.9) and ``'adam'``
    it is an L2 term in the gradient, for ``'adamw'`` it is decoupled. Gradients are clipped first.

    Args:
        config: the optimizer section of a config.
        steps: length of the run, for the schedule.
        warmup: steps over which the rate rises linearly to that of the schedule.

    Raises:
        KeyError: the optimizer or the schedule is unknown.
    """
    decay = sharing.add_decayed_weights(config.weight_decay)
    rules = {
        "sgd": [decay, optax.trace(decay=0.9, nesterov=config.nesterov)],
        "adam": [decay, optax.scale_by_adam()],
        "adamw": [optax.scale_by_adam(), decay],
    }
    # In a short run several milestones may be at one step.
    falls: dict[int, float] = {}
    for fraction in config.milestones:
        step = round(fraction * steps)
        falls[step] = falls.get(step, 1.0) * config.milestone_factor
    rates = {
        "constant": optax.constant_schedule(config.learning_rate),
        "cosine": optax.cosine_decay_schedule(config.learning_rate, steps),
        "steps": optax.piecewise_constant_schedule(config.learning_rate, falls),
    }
    rate = rates[config.schedule]
    clip = [optax.clip_by_global_norm(config.grad_clip_norm)] if config.grad_clip_norm else []
    return optax.chain(
        *clip,
        *rules[config.name],
        optax.scale_by_learning_rate(_warmed_up(rate, warmup) if warmup else rate),
        # Checkpoints of older versions contain the empty state of another transform here.
        optax.identity(),
    )


def _warmed_up(rate: optax.Schedule, steps: int) -> optax.Schedule:
    """Returns a schedule with 1 / n, 2 / n, ... of the original rate in its first n steps."""
    return lambda count: rate(count) * jnp.minimum(1.0, (count + 1) / steps)


def at_step(opt_state: optax.OptState, step: int | jax.Array) -> optax.OptState:
    """Returns an optimizer state with its learning-rate schedule moved to a step.

    Other counts stay: Adam's bias correction counts the updates of its moments.
    """

    def of_schedule(path, _) -> bool:
        return getattr(path[-1], "tuple_name", None) == "ScaleByScheduleState"

    return optax.tree.set(opt_state, of_schedule, count=jnp.int32(step))
