"""From dense weights to templates and back."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64
from numpy.typing import ArrayLike

from softshare_jax.sharing.checks import check_finite
from softshare_jax.sharing.materialization import (
    Variables,
    box_templates,
    in_float32,
    materialize,
    stack_members,
)
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.tree import PyTree

_Numbers = np.ndarray[Any, Any]
SHARING_COLLECTIONS = ("params", "templates", "coefficients")


def from_dense(plan: Plan, params: PyTree) -> dict[str, Any]:
    """Returns the best k templates of given weights: a truncated SVD of each group.

    The stack of a group's weights, ``[L, d]``, is replaced by its nearest matrix of rank k
    (Eckart & Young 1936). Coefficients have orthonormal columns, the scale of ``orthogonal``, so that
    training can continue: a gradient step on the templates then moves the weights as a step on the
    weights themselves would, projected onto what k templates reach. Layers are compared as they are: two
    layers that compute the same with permuted channels are not recognized.

    Args:
        plan: which layers share. Groups with k = L are represented exactly.
        params: dense parameters, as ``materialize`` returns them.

    Returns:
        ``params`` (private), ``templates`` and ``coefficients``.

    Raises:
        PlanError: the plan does not fit the parameters, or a layer is not finite.
    """
    private, dense = _finite_members(plan, params)
    templates, coefficients = {}, {}
    for group in plan.groups:
        if group.tied and group.assignment is not None:
            parts = tie(dense[group.name], group.assignment, group.templates)
        else:
            parts = factorize(dense[group.name], group.templates)
        templates[group.name], coefficients[group.name] = parts
    boxed = box_templates(plan, params, templates)
    return {"params": private, "templates": boxed, "coefficients": coefficients}


def _finite_members(plan: Plan, params: PyTree) -> tuple[PyTree, dict[str, Float[Array, "_ ..."]]]:
    private, dense = stack_members(plan, params)
    for group in plan.groups:
        check_finite(group, dense[group.name])
    return private, dense


def factorize(
    weights: Float[Array, "L *shape"], templates: int
) -> tuple[Float[Array, "{templates} *shape"], Float[Array, "L {templates}"]]:
    """Returns the best k templates ``[k, *shape]`` of weights ``[L, *shape]``, and coefficients ``[L, k]``.

    The coefficients have orthonormal columns. If the rank of the weights is below k, some templates are
    zero and their coefficients are not: the gradient can then move these templates.
    """
    rows = _rows(weights)
    u, s, vt = jnp.linalg.svd(rows, full_matrices=False)
    size = weights[0].size
    best = (s[:templates, None] * vt[:templates])[:, :size]
    return best.reshape(templates, *weights.shape[1:]).astype(weights.dtype), u[:, :templates]


def tie(
    weights: Float[Array, "L *shape"], assignment: Sequence[int], templates: int
) -> tuple[Float[Array, "{templates} *shape"], Float[Array, "L {templates}"]]:
    """Returns the templates ``[k, *shape]`` of a tied group, and coefficients ``[L, k]`` of zeros and ones.

    A template is the mean of the weights of its layers, which is nearest to all of them.
    """
    used = np.eye(templates, dtype=np.float32)[list(assignment)]
    shares = (used / np.maximum(used.sum(axis=0), 1)).T
    means = jnp.tensordot(shares, in_float32(weights), 1, precision=jax.lax.Precision.HIGHEST)
    return means.astype(weights.dtype), jnp.asarray(used)


def spectra(plan: Plan, params: PyTree) -> dict[str, Float[Array, " _"]]:
    """Returns the singular values of each group's weights, ``{group: [L]}``, in descending order.

    The squared error of the best k templates is the sum of the squares after the k-th value
    (Eckart & Young 1936).

    Args:
        plan: which layers share; its numbers of templates are not used.
        params: dense parameters.

    Raises:
        PlanError: the plan does not fit the parameters, or a layer is not finite.
    """
    _, dense = _finite_members(plan, params)
    # XLA:CPU allocates a [d, d] array for singular values without vectors, and an [L, d] array with them.
    return {name: jnp.linalg.svd(_rows(weights), full_matrices=False)[1] for name, weights in dense.items()}


def truncation_errors(values: ArrayLike) -> Float64[_Numbers, " L"]:
    """Returns the squared error of the best 1 to L templates, ``[L]`` float64.

    Args:
        values: singular values of a group, ``[L]`` in descending order, as ``spectra`` returns them.
    """
    squares = np.asarray(values, np.float64) ** 2
    # Sums from the small end, where cancellation would show.
    return np.append(np.cumsum(squares[:0:-1])[::-1], 0.0)


def to_dense(plan: Plan, variables: Variables) -> dict[str, Any]:
    """Returns the variables of the unshared network.

    These are materialized ``params``, and unchanged every collection that does not belong to soft
    sharing, such as ``batch_stats``.

    Raises:
        PlanError: the variables are not those of the plan.
    """
    others = {name: value for name, value in variables.items() if name not in SHARING_COLLECTIONS}
    return {"params": materialize(plan, variables), **others}


def _rows(weights: Float[Array, "L *shape"]) -> Float[Array, "L _"]:
    """Returns weights as ``[L, d]`` in float32 or finer, padded with zeros to d >= L."""
    rows = in_float32(weights.reshape(len(weights), -1))
    return jnp.pad(rows, ((0, 0), (0, max(0, len(rows) - rows.shape[1]))))
