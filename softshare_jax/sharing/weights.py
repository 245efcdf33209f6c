"""The weights of one group, computed from its templates and coefficients.

A weight ``[*shape]`` is seen as columns ``[q, C]``, each with coefficients of its own: one for each output
channel if the group has coefficients per channel, else the whole weight is one column. So every function
knows one form: ``W_i[:, c] = sum_j alpha_ijc T_j[:, c]``. A group may add a residual of low rank to each
layer, ``left_i right_i``, to the weight as a matrix ``[m, n]``.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from softshare_jax.sharing.group import Group
from softshare_jax.sharing.tree import unbox

Variables = Mapping[str, Any]
# Number of templates up to which weights are sums of scaled templates.
FEW = 4


def group_templates(group: Group, variables: Variables) -> Float[Array, "k *shape"]:
    """Returns the templates of a group, ``[k, *shape]``, unboxed."""
    return jnp.asarray(unbox(variables["templates"][group.name]))


def group_coefficients(group: Group, variables: Variables) -> Float[Array, "L k *channel"]:
    """Returns the effective coefficients of a group, ``[L, k]`` or ``[L, k, C]``, in float32 or finer.

    In a folded group only the entries that the assignment names are used. All others are replaced by zeros,
    and their gradient is zero, so no optimizer can separate merged layers. In a tied group the used entries
    are replaced by ones.
    """
    coefficients = in_float32(jnp.asarray(variables["coefficients"][group.name]))
    if group.assignment is None:
        return coefficients
    used = np.arange(group.templates) == np.array(group.assignment)[:, None]
    used = used.reshape(*used.shape, *[1] * (coefficients.ndim - 2))
    return jnp.where(used, 1 if group.tied else coefficients, 0).astype(coefficients.dtype)


def mixtures(group: Group, variables: Variables) -> Float[Array, "L *shape"]:
    """Returns the combinations of templates before they are rounded, in float32 or finer."""
    return combine(group_coefficients(group, variables), in_float32(group_templates(group, variables)))


def residuals(
    group: Group, left: Float[Array, "L m r"], right: Float[Array, "L r n"]
) -> Float[Array, "L ..."]:
    """Returns the residuals of a group, ``[L, *shape]`` in float32 or finer."""
    products = jnp.matmul(in_float32(left), in_float32(right), precision=jax.lax.Precision.HIGHEST)
    return products.reshape(-1, *group.shape)


def exact_weights(group: Group, variables: Variables) -> Float[Array, "L *shape"]:
    """Returns the weights of a group before they are rounded, in float32 or finer."""
    weights = mixtures(group, variables)
    if not group.rank:
        return weights
    left, right = (jnp.asarray(variables["residuals"][group.name][side]) for side in ("left", "right"))
    return weights + residuals(group, left, right)


def group_weights(group: Group, variables: Variables) -> Float[Array, "L *shape"]:
    """Returns the weights of a group, ``[L, *shape]``.

    They have the dtype of the templates, which is that of the model's own parameters.
    """
    return exact_weights(group, variables).astype(group_templates(group, variables).dtype)


def columns(group: Group, weights: Float[Array, "_ *shape"]) -> Float[Array, "_ q C"]:
    """Returns weights ``[n, *shape]`` or coefficients ``[L, k, ...]`` as columns, ``[n, q, C]``."""
    return weights.reshape(len(weights), -1, group.channels)


def combine(
    coefficients: Float[Array, "L k *channel"], templates: Float[Array, "k *shape"]
) -> Float[Array, "L *shape"]:
    """Returns combinations of templates, ``[L, *shape]``."""
    per_channel = coefficients.ndim > 2
    if len(templates) > FEW:
        equation = "lkc,k...c->l...c" if per_channel else "lk,k...->l..."
        return jnp.einsum(equation, coefficients, templates, precision=jax.lax.Precision.HIGHEST)
    # XLA fuses this sum, and its gradient, with the cast and the slices that follow. A matrix product writes
    # all weights in float32 first, a tenth of the memory traffic of a step of SWRN 28-10-2.
    ones = [1] * (templates.ndim - 1 - per_channel)
    scalars = coefficients.reshape(*coefficients.shape[:2], *ones, *coefficients.shape[2:])
    products = [scalars[:, j] * templates[j : j + 1] for j in range(len(templates))]
    return functools.reduce(jnp.add, products)


def in_float32(array: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns an array in float32, or in its own dtype if that is finer."""
    return array if array.dtype == jnp.float64 else array.astype(jnp.float32)
