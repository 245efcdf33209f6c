"""Optax transforms with the rules that soft sharing has for an optimiser."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

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


def _decays(trainable: dict[str, Any]) -> dict[str, bool]:
    return {name: name != "coefficients" for name in trainable}
