"""Optax transforms with the rules that soft sharing has for an optimiser."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from softshare_jax.sharing.annealing import anneal
from softshare_jax.sharing.plan import Plan


def add_decayed_weights(weight_decay: float) -> optax.GradientTransformation:
    """Adds weight decay to the updates of everything except the coefficients.

    The paper's rule (Savarese & Maire 2019, section 4): batch-norm and biases decay, coefficients
    do not. It reads collections, so it needs no names of parameters. Before the optimiser it is an L2
    term in the gradient, after it decoupled decay.

    >>> import optax
    >>> optimizer = optax.chain(add_decayed_weights(5e-4), optax.sgd(0.1, momentum=0.9, nesterov=True))

    Args:
        weight_decay: the factor of the weights that is added.
    """
    return optax.add_decayed_weights(weight_decay, mask=_decays)


def hold_assignments(plan: Plan) -> optax.GradientTransformation:
    """Keeps the layers of folded groups tied: last in a chain, it holds at zero what their assignments
    leave out of the coefficients.

    Args:
        plan: of the network; without folded groups nothing is held.
    """
    used = {
        group.name: jax.nn.one_hot(jnp.array(group.assignment), group.templates)
        for group in plan.groups
        if group.assignment is not None
    }

    def hold(updates: dict[str, Any]) -> dict[str, Any]:
        if not used:
            return updates
        held = {
            name: update * used[name] if name in used else update
            for name, update in updates["coefficients"].items()
        }
        return {**updates, "coefficients": held}

    return optax.stateless(lambda updates, _: hold(updates))


def anneal_to(plan: Plan, templates: Mapping[str, int], steps: int) -> optax.GradientTransformation:
    """Fades the layers of each group to k templates within so many steps: last in a chain.

    What k templates cannot say is multiplied by (n - 1) / n at each step, where n steps are left: had it no
    gradient it would fade linearly, and at the end it is gone whatever its gradient, so that
    ``resize`` to k templates loses nothing.

    Args:
        plan: of the network, with more templates than it shall have.
        templates: k to fade to, by group; see ``anneal``.
        steps: from the first update to rank k; 1 or more.

    Raises:
        ValueError: its update is called without the parameters.
    """

    def init(params: optax.Params) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(updates, state, params=None):
        if params is None:
            raise ValueError(optax.NO_PARAMS_MSG)
        left = jnp.maximum(steps - state.count, 1)
        annealed = anneal(plan, optax.apply_updates(params, updates), templates, 1 / left)
        change = jax.tree.map(jnp.subtract, annealed["coefficients"], params["coefficients"])
        return {**updates, "coefficients": change}, state._replace(count=state.count + 1)

    return optax.GradientTransformation(init, update)


def _decays(trainable: dict[str, Any]) -> dict[str, bool]:
    return {name: name != "coefficients" for name in trainable}
