"""Changing the number of templates of a trained network."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from softshare_jax.sharing.checks import check_variables
from softshare_jax.sharing.factors import factorize
from softshare_jax.sharing.group import Group
from softshare_jax.sharing.materialization import in_box_of
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.weights import (
    Variables,
    columns,
    group_coefficients,
    group_templates,
    mixtures,
)


def resize(
    plan: Plan, variables: Variables, templates: int | Mapping[str, int]
) -> tuple[Plan, dict[str, Any]]:
    """Gives groups more or fewer templates, and keeps what the network has learned.

    With more templates the network computes the same as before. The new templates are zero. Their
    coefficients are columns orthogonal to the old ones, and of their size, so the first gradient turns the
    new templates toward what the layers lack. (New templates with zero coefficients compute the same, but
    their direction would be random.) With fewer templates, each group becomes the best k templates of its
    weights, by truncated SVD. A folded group whose k changes mixes templates again.
    Residuals do not change: only the combinations of templates are approximated.

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
        if new.templates > old.templates:
            resized_templates, coefficients[new.name] = _grow(old, variables, new)
        else:
            resized_templates, coefficients[new.name] = _shrink(old, variables, new)
        new_templates[new.name] = in_box_of(new_templates[new.name], resized_templates)
    return resized, {**variables, "templates": new_templates, "coefficients": coefficients}


def _grow(
    old: Group, variables: Variables, new: Group
) -> tuple[Float[Array, "_ *shape"], Float[Array, "L _ *channel"]]:
    templates = group_templates(old, variables)
    coefficients = jnp.moveaxis(columns(old, group_coefficients(old, variables)), 2, 0)
    # Left singular vectors after the k-th are orthogonal to all columns, whatever their rank.
    basis, _, _ = jnp.linalg.svd(coefficients, full_matrices=True)
    scale = jnp.linalg.norm(coefficients, axis=(1, 2), keepdims=True) / old.templates**0.5
    more = scale * basis[:, :, old.templates : new.templates]
    zeros = jnp.zeros((new.templates - old.templates, *new.shape), templates.dtype)
    grown = jnp.moveaxis(jnp.concatenate([coefficients, more], axis=2), 0, 2)
    return jnp.concatenate([templates, zeros]), grown.reshape(new.coefficients_shape)


def _shrink(
    old: Group, variables: Variables, new: Group
) -> tuple[Float[Array, "_ *shape"], Float[Array, "L _ *channel"]]:
    dtype = group_templates(old, variables).dtype
    templates, coefficients = factorize(new, mixtures(old, variables).astype(dtype))
    return templates.astype(dtype), coefficients
