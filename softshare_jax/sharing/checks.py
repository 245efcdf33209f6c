"""Checks of the arguments of this package. Each raises an error of one sentence."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.group import Group
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.tree import unbox


def check_plan(plan: Any) -> None:
    """Rejects anything that is not a plan.

    Raises:
        PlanError: it is something else, such as a rule.
    """
    if not isinstance(plan, Plan):
        what = "a rule" if callable(plan) else type(plan).__name__
        raise PlanError(f"expected a plan, not {what}; a rule makes a plan: plan = rule(params)")


def check_variables(plan: Any, variables: Any) -> None:
    """Rejects variables that do not belong to a plan.

    Raises:
        PlanError: the plan is not a plan, or templates, coefficients or residuals of a group are missing, as
            in dense parameters, have the shape of another plan, or are not real floating-point numbers.
    """
    check_plan(plan)
    if not isinstance(variables, Mapping):
        raise PlanError(f"variables are a dictionary of collections, not {type(variables).__name__}")
    for group in plan.groups:
        for (collection, *side), shape in _shapes(group).items():
            value: Any = variables
            for key in (collection, group.name, *side):
                if not isinstance(value, Mapping) or key not in value:
                    raise PlanError(
                        f"the variables have no {collection} of group {group.name!r}: "
                        "make them from dense parameters with from_dense or initialize"
                    )
                value = value[key]
            array = unbox(value)
            if np.shape(array) != shape:
                raise PlanError(
                    f"the {collection} of group {group.name!r} have shape {np.shape(array)}, "
                    f"and the plan needs {shape}"
                )
            if not jnp.issubdtype(jnp.result_type(array), jnp.floating):
                raise PlanError(
                    f"the {collection} of group {group.name!r} have dtype {jnp.result_type(array)}: "
                    "only real floating-point weights can share"
                )


def _shapes(group: Group) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Returns the shapes of a group's arrays by collection, and by side for residuals."""
    shapes: dict[tuple[str, ...], tuple[int, ...]] = {
        ("templates",): (group.templates, *group.shape),
        ("coefficients",): group.coefficients_shape,
    }
    if group.rank:
        m, n = group.matrix
        shapes["residuals", "left"] = (group.layers, m, group.rank)
        shapes["residuals", "right"] = (group.layers, group.rank, n)
    return shapes


def check_finite(group: Group, rows: Shaped[Array, "L ..."], what: str = "weights") -> None:
    """Rejects layers with NaN or infinity. Accepts traced arrays, whose values are unknown.

    Args:
        group: group of the layers.
        rows: values to check, one row per layer.
        what: name of the values, for the message.

    Raises:
        PlanError: a layer is not finite.
    """
    if isinstance(rows, jax.core.Tracer):
        return
    finite = np.asarray(jnp.all(jnp.isfinite(rows).reshape(len(rows), -1), axis=1))
    if not finite.all():
        layer = int(np.argmin(finite))
        raise PlanError(
            f"group {group.name!r}: the {what} of layer {layer + 1} ({group.members[layer]}) are not finite"
        )
