"""Optax transforms with the rules of soft sharing for an optimizer."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from softshare_jax.sharing.annealing import anneal
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.tree import key_text


def decay_mask(weights: optax.Params) -> optax.Params:
    """Returns for every weight whether it decays: all do, except the coefficients.

    The paper's rule (Savarese & Maire 2019, section 4): batch-norm and biases decay, coefficients
    do not. It finds a collection ``coefficients`` beside its ``templates`` at any depth, as in
    ``{"generator": variables, "critic": variables}``, and at the root also without ``templates``, which may
    have another optimizer. Anywhere else, a parameter of a model with this name decays.

    >>> import optax
    >>> optimizer = optax.adamw(1e-3, weight_decay=1e-2, mask=decay_mask)

    Args:
        weights: what the optimizer updates.

    Returns:
        Booleans, in the structure of the weights.
    """
    return _mask(weights, at_root=True)


def _mask(node: Any, at_root: bool = False) -> Any:
    children, structure = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
    if not children or not children[0][0]:  # a leaf or an empty node
        return jax.tree.unflatten(structure, [True] * len(children))
    names = [key_text(*path) for path, _ in children]
    if "coefficients" in names and (at_root or "templates" in names):
        masks = [
            jax.tree.map(lambda _, decays=name != "coefficients": decays, child)
            for name, (_, child) in zip(names, children, strict=True)
        ]
    else:
        masks = [_mask(child) for _, child in children]
    return jax.tree.unflatten(structure, masks)


def add_decayed_weights(weight_decay: float) -> optax.GradientTransformation:
    """Adds weight decay to the updates of everything except the coefficients (see ``decay_mask``).

    Before the optimizer it is an L2 term in the gradient, after the optimizer it is decoupled decay.

    >>> import optax
    >>> optimizer = optax.chain(add_decayed_weights(5e-4), optax.sgd(0.1, momentum=0.9, nesterov=True))

    Args:
        weight_decay: factor of the weights that is added.
    """
    return optax.add_decayed_weights(weight_decay, mask=decay_mask)


def anneal_to(plan: Plan, templates: Mapping[str, int], steps: int) -> optax.GradientTransformation:
    """Anneals each group to k templates in a number of steps. Put it last in a chain.

    The residual that k templates cannot represent is scaled by (n - 1) / n when n steps remain, i.e.
    linearly to zero if it has no gradient. After the last step it is zero whatever its gradient, so
    ``resize`` to k templates loses nothing.

    Args:
        plan: plan of the network, with more templates than the target.
        templates: target k by group name, as for ``anneal``.
        steps: number of updates until rank k, 1 or more.

    Raises:
        ValueError: ``steps`` is less than 1, or its update is called without the parameters.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be 1 or more")

    def init(params: optax.Params) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            raise ValueError(optax.NO_PARAMS_MSG)
        left = jnp.maximum(steps - state.count, 1)
        annealed = anneal(plan, optax.apply_updates(params, updates), templates, 1 / left)
        change = jax.tree.map(jnp.subtract, annealed["coefficients"], params["coefficients"])
        return {**updates, "coefficients": change}, state._replace(count=state.count + 1)

    return optax.GradientTransformation(init, update)
