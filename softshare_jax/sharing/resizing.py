"""Changing the number of templates of a trained network."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from softshare_jax.sharing.dense import factorize
from softshare_jax.sharing.materialization import Variables, group_weights
from softshare_jax.sharing.plan import Plan


def resize(
    plan: Plan, variables: Variables, templates: int | Mapping[str, int]
) -> tuple[Plan, dict[str, Any]]:
    """Gives groups more or fewer templates and keeps what the network knows.

    With more the network computes what it did: the new templates are zero, and their coefficients
    are columns that are orthogonal to all that were there and of their size, so that the first
    gradient turns the new templates to what the layers lack. (New templates with zero coefficients
    compute the same, but which way they point is then left to chance.) With fewer each group becomes
    the best k templates of its weights, by truncated SVD. A folded group whose k changes mixes
    templates again.

    Args:
        plan: which layers share.
        variables: ``templates``, ``coefficients`` and any other collections, which stay.
        templates: the new k for all groups, or for those named.

    Returns:
        ``(plan, variables)``.

    Raises:
        PlanError: k is outside 1..L, or there is no group of that name.
    """
    resized = plan.with_templates(templates)
    new_templates, coefficients = dict(variables["templates"]), dict(variables["coefficients"])
    for old, new in zip(plan.groups, resized.groups, strict=True):
        if old == new:
            continue
        change = _grow if new.templates > old.templates else _shrink
        new_templates[new.name], coefficients[new.name] = change(
            new_templates[new.name], coefficients[new.name], new.templates
        )
    return resized, {**variables, "templates": new_templates, "coefficients": coefficients}


def _grow(templates: jax.Array, coefficients: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    old = len(templates)
    # Left singular vectors after the k-th are orthogonal to all columns, whatever their rank.
    basis, _, _ = jnp.linalg.svd(coefficients, full_matrices=True)
    scale = jnp.linalg.norm(coefficients) / old**0.5
    zeros = jnp.zeros((k - old, *templates.shape[1:]), templates.dtype)
    return jnp.concatenate([templates, zeros]), jnp.concatenate([coefficients, scale * basis[:, old:k]], 1)


def _shrink(templates: jax.Array, coefficients: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    return factorize(group_weights(coefficients, templates), k)
