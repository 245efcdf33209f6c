"""Templates, coefficients and residuals that are nearest to given weights."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from softshare_jax.sharing.factors import factorize, multiples, tie, truncate
from softshare_jax.sharing.group import Group
from softshare_jax.sharing.improving import Improvement, improvement
from softshare_jax.sharing.seen import EVERYTHING, Seen
from softshare_jax.sharing.weights import combine, in_float32, residuals

# Templates and residuals take turns until a turn lowers the squared error by less than this fraction, or for
# this number of turns.
TOLERANCE = 1e-3
TURNS = 100


class _Fit(NamedTuple):
    """The arrays of a group after a number of turns.

    Attributes:
        templates, coefficients, left, right: the arrays, in float32 or finer.
        error: their squared error.
        before: the squared error after the turn before.
        turns: the number of turns.
    """

    templates: Float[Array, "k *shape"]
    coefficients: Float[Array, "L k *channel"]
    left: Float[Array, "L m r"]
    right: Float[Array, "L r n"]
    error: Float[Array, ""]
    before: Float[Array, ""]
    turns: Array


def fit(group: Group, weights: Float[Array, "L *shape"], seen: Seen = EVERYTHING) -> dict[str, Any]:
    """Returns the arrays of a group that are nearest to given weights, by collection.

    Without residuals, and if the inputs of all layers see alike, no other arrays are nearer. Otherwise the
    arrays take turns: each is improved given the others, so the error falls with every turn, to a minimum
    that may be a local one. A folded group takes no turns.

    Args:
        group: the group.
        weights: weights of its layers, ``[L, *shape]``.
        seen: what inputs see of weights. A folded group counts what the inputs of all layers together see,
            and a tied group has the mean of its layers, whatever they see.
    """
    dtype, exact = weights.dtype, in_float32(weights)
    if group.assignment is not None:
        parts = tie(group, exact) if group.tied else multiples(group, exact, seen.mean)
        return {"templates": parts[0].astype(dtype), "coefficients": parts[1]}
    found = _start(group, exact, seen)
    # One template per layer is exact, whatever the inputs see.
    best = seen.alike or group.templates == group.layers
    if group.rank or not best:
        improve = _best_templates(group, seen) if best else improvement(group, seen)
        found = jax.lax.while_loop(
            lambda last: (last.turns < TURNS) & (last.error < (1 - TOLERANCE) * last.before),
            lambda last: _turn(group, exact, seen, improve, last),
            found,
        )
    arrays = {"templates": found.templates.astype(dtype), "coefficients": found.coefficients}
    if not group.rank:
        return arrays
    return {**arrays, "residuals": {"left": found.left.astype(dtype), "right": found.right.astype(dtype)}}


def _start(group: Group, weights: Float[Array, "L *shape"], seen: Seen) -> _Fit:
    """Returns the best templates for what the inputs of all layers together see, with residuals of zero."""
    templates, coefficients = factorize(group, weights, seen.mean)
    error = jnp.sum(seen(weights - combine(coefficients, templates)) ** 2)
    m, n = group.matrix
    return _Fit(
        templates,
        coefficients,
        left=jnp.zeros((len(weights), m, group.rank), weights.dtype),
        right=jnp.zeros((len(weights), group.rank, n), weights.dtype),
        error=error,
        before=jnp.full_like(error, jnp.inf),
        turns=jnp.int32(0),
    )


def _turn(
    group: Group, weights: Float[Array, "L *shape"], seen: Seen, improve: Improvement, last: _Fit
) -> _Fit:
    left, right = last.left, last.right
    if group.rank:
        left, right = truncate(group, weights - combine(last.coefficients, last.templates), seen)
    target = weights - residuals(group, left, right)
    templates, coefficients = improve(target, last.templates, last.coefficients)
    error = jnp.sum(seen(target - combine(coefficients, templates)) ** 2)
    return _Fit(templates, coefficients, left, right, error, last.error, last.turns + 1)


def _best_templates(group: Group, seen: Seen) -> Improvement:
    return lambda weights, templates, coefficients: factorize(group, weights, seen)
