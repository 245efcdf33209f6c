"""From dense weights to templates and back."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64
from numpy.typing import ArrayLike

from softshare_jax.sharing.checks import check_finite
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.factors import singular_values
from softshare_jax.sharing.fitting import fit
from softshare_jax.sharing.materialization import box_templates, materialize, stack_members
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.seen import seen_by
from softshare_jax.sharing.tree import PyTree
from softshare_jax.sharing.weights import Variables

_Numbers = np.ndarray[Any, Any]


def from_dense(plan: Plan, params: PyTree, moments: Mapping[str, ArrayLike] | None = None) -> dict[str, Any]:
    """Returns the best k templates of given weights: a truncated SVD of each group.

    The stack of a group's weights, ``[L, d]``, is replaced by its nearest matrix of rank k
    (Eckart & Young 1936). With coefficients per channel this holds for the weights of each output channel,
    ``[L, d / C]``. Coefficients have orthonormal columns, the scale of ``orthogonal``, so that
    training can continue: a gradient step on the templates then moves the weights as a step on the
    weights themselves would, projected onto what k templates reach. Layers are compared as they are: two
    layers that compute the same with permuted channels are not recognized.

    In a group with residuals, templates and residuals take turns: each is the best one given the other. The
    error falls with every turn, to a minimum that may be a local one; the last turn lowers it by less than a
    thousandth.

    With ``moments``, the error is that of the outputs of the layers, ``sum_i ||X_i (W_i - W'_i)||^2``. If all
    layers of a group have one moment M, the best templates are found by a truncated SVD of what the inputs
    see, ``M^(1/2) W``. No inverse is taken, so a moment may be singular: directions that no input has follow
    the others. If each layer has its own moment, templates and coefficients take turns too.

    In a folded group each layer becomes the nearest multiple of its template, and in a tied group the mean of
    the layers with its template.

    Args:
        plan: which layers share. Groups with k = L are represented exactly.
        params: dense parameters, as ``materialize`` returns them.
        moments: second moments of the inputs of layers over sample data, ``{group: [p, p]}`` or
            ``{group: [L, p, p]}``, where p is the product of some leading axes of the weight: the number of
            inputs of an output. ``input_moments`` measures them. Other groups fit their weights.

    Returns:
        ``params`` (private), ``templates`` and ``coefficients``, and ``residuals`` if a group has them.

    Raises:
        PlanError: the plan or the moments do not fit the parameters, or a layer is not finite.
    """
    private, dense = finite_members(plan, params)
    if unknown := (moments or {}).keys() - dense.keys():
        raise PlanError(f"there is no group {min(unknown)!r}, the groups are {', '.join(dense)}")
    arrays: dict[str, dict[str, Any]] = {name: {} for name in plan.collections[1:]}
    for group in plan.groups:
        for name, value in fit(group, dense[group.name], seen_by(group, moments or {})).items():
            arrays[name][group.name] = value
    boxed = box_templates(plan, params, arrays["templates"])
    return {"params": private, **arrays, "templates": boxed}


def finite_members(plan: Plan, params: PyTree) -> tuple[PyTree, dict[str, Float[Array, "_ ..."]]]:
    """Returns private parameters and the weights of each group, which are finite; see ``stack_members``."""
    private, dense = stack_members(plan, params)
    for group in plan.groups:
        check_finite(group, dense[group.name])
    return private, dense


def spectra(plan: Plan, params: PyTree) -> dict[str, Float[Array, " _"]]:
    """Returns the singular values of each group's weights, ``{group: [L]}``, in descending order.

    The squared error of the best k templates is the sum of the squares after the k-th value
    (Eckart & Young 1936). With coefficients per channel, a value is the root of the sum of the squares of the
    channels.

    Args:
        plan: which layers share; its numbers of templates are not used.
        params: dense parameters.

    Raises:
        PlanError: the plan does not fit the parameters, or a layer is not finite.
    """
    _, dense = finite_members(plan, params)
    by_channel = {group.name: singular_values(group, dense[group.name]) for group in plan.groups}
    return {name: root_of_squares(values) for name, values in by_channel.items()}


def root_of_squares(values: Float[Array, "C L"]) -> Float[Array, " L"]:
    """Returns the norm over the first axis. Squares of scaled values do not vanish."""
    largest = jnp.maximum(jnp.max(values, axis=0), np.finfo(values.dtype).tiny)
    norms: Float[Array, " L"] = largest * jnp.linalg.norm(values / largest[None], axis=0)
    return norms


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
    params = materialize(plan, variables)
    others = {name: value for name, value in variables.items() if name not in plan.collections}
    return {"params": params, **others}
