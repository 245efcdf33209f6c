"""Changing the number of templates of a trained network."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from softshare_jax.sharing.checks import check_variables
from softshare_jax.sharing.dense import factorize
from softshare_jax.sharing.materialization import (
    Variables,
    group_coefficients,
    group_templates,
    group_weights,
    in_box_of,
)
from softshare_jax.sharing.plan import Group, Plan


def resize(
    plan: Plan, variables: Variables, templates: int | Mapping[str, int]
) -> tuple[Plan, dict[str, Any]]:
    """Gives groups more or fewer templates, and keeps what the network has learned.

    With more templates the network computes the same as before. The new templates are zero. Their
    coefficients are columns orthogonal to the old ones, and of their size, so the first gradient turns the
    new templates toward what the layers lack. (New templates with zero coefficients compute the same, but
    their direction would be random.) With fewer templates, each group becomes the best k templates of its
    weights, by truncated SVD. A folded group whose k changes mixes templates again.

    Args:
        plan: which layers share.
        variables: ``templates``, ``coefficients`` and any other collections, which do not change.
        templates: the new k for all groups, or by group name.

    Returns:
        ``(plan, variables)``.

    Raises:
        PlanError: k is outside 1..L, a name is not that of a group, or the variables are not those of the
            plan.
    """
    check_variables(plan, variables)
    resized = plan.with_templates(templates)
    new_templates, coefficients = dict(variables["templates"]), dict(variables["coefficients"])
    for old, new in zip(plan.groups, resized.groups, strict=True):
        if old == new:
            continue
        change = _grow if new.templates > old.templates else _shrink
        resized_templates, coefficients[new.name] = change(old, variables, new.templates)
        new_templates[new.name] = in_box_of(new_templates[new.name], resized_templates)
    return resized, {**variables, "templates": new_templates, "coefficients": coefficients}


def _grow(
    group: Group, variables: Variables, k: int
) -> tuple[Float[Array, "{k} *shape"], Float[Array, "L {k}"]]:
    templates, coefficients = group_templates(group, variables), group_coefficients(group, variables)
    old = group.templates
    # Left singular vectors after the k-th are orthogonal to all columns, whatever their rank.
    basis, _, _ = jnp.linalg.svd(coefficients, full_matrices=True)
    scale = jnp.linalg.norm(coefficients) / old**0.5
    zeros = jnp.zeros((k - old, *templates.shape[1:]), templates.dtype)
    return jnp.concatenate([templates, zeros]), jnp.concatenate([coefficients, scale * basis[:, old:k]], 1)


def _shrink(
    group: Group, variables: Variables, k: int
) -> tuple[Float[Array, "{k} *shape"], Float[Array, "L {k}"]]:
    return factorize(group_weights(group, variables), k)
