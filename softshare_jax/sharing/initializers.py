"""How soft sharing starts: initial coefficients and templates."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.group import Group
from softshare_jax.sharing.materialization import box_templates, stack_members
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.tree import PyTree

Initializer = Callable[[jax.Array, int, int], jax.Array]


def orthogonal(key: jax.Array, layers: int, templates: int) -> Float[Array, "{layers} {templates}"]:
    """Returns a random ``[L, k]`` matrix with orthonormal rows (k >= L) or columns (k <= L).

    The paper's choice, and the default.
    """
    return jax.nn.initializers.orthogonal()(key, (layers, templates), jnp.float32)


def identity(key: jax.Array, layers: int, templates: int) -> Float[Array, "{layers} {templates}"]:
    """Returns the identity ``[L, L]``: the network starts unshared and may learn to share.

    Raises:
        PlanError: k is not L.
    """
    del key
    if templates != layers:
        raise PlanError(
            f"identity coefficients need one template per layer: {layers} layers, {templates} templates"
        )
    return jnp.eye(layers)


def sparse(key: jax.Array, layers: int, templates: int) -> Float[Array, "{layers} {templates}"]:
    """Returns a ``[L, k]`` matrix with a single 1 in each row: layer i starts as template i mod k.

    The network starts as a loop over its templates; training may mix them.
    """
    del key
    return jax.nn.one_hot(jnp.arange(layers) % templates, templates)


INITIALIZERS: Mapping[str, Initializer] = {
    "orthogonal": orthogonal,
    "identity": identity,
    "sparse": sparse,
}


def initialize(
    plan: Plan, params: PyTree, key: jax.Array, coefficients: Initializer = orthogonal
) -> dict[str, Any]:
    """Turns a model's freshly initialized parameters into soft-shared variables.

    Templates start as the initial weights of each group's first k layers, so they follow the initializer
    of the model: He normal (fan-in) for the networks of this package, as in the paper. The private
    parameters do not change.

    Args:
        plan: which layers share.
        params: the model's own initial parameters, in any pytree.
        key: random key for the coefficients.
        coefficients: one of ``orthogonal``, ``identity`` and ``sparse``.

    Returns:
        ``params`` (private), ``templates`` ``{group: [k, *shape]}`` and ``coefficients``
        ``{group: [L, k]}``, float32; with coefficients per channel ``[L, k, C]``, equal in all channels, so
        that the network starts as the one without this option. Groups with residuals have ``residuals``:
        ``left`` is zero and ``right`` is normal with variance 1 / n, so they start without effect. If
        ``nn.with_partitioning`` boxed the weights, the templates are boxed too, with a leading axis that is
        not partitioned.

    Raises:
        PlanError: the plan does not fit the parameters, or ``coefficients`` is not a function or does not fit
            a group.
    """
    if not callable(coefficients):
        raise PlanError(f"coefficients is an initializer, such as sharing.orthogonal, not {coefficients!r}")
    private, dense = stack_members(plan, params)
    keys = jax.random.split(key, max(len(plan.groups), 1))
    residuals = {
        group.name: _no_residual(group, group_key, dense[group.name].dtype)
        for group, group_key in zip(plan.groups, keys, strict=False)
        if group.rank
    }
    return {
        "params": private,
        "templates": box_templates(
            plan, params, {group.name: dense[group.name][: group.templates] for group in plan.groups}
        ),
        "coefficients": {
            group.name: _for_each_channel(group, coefficients(group_key, group.layers, group.templates))
            for group, group_key in zip(plan.groups, keys, strict=False)
        },
        **({"residuals": residuals} if residuals else {}),
    }


def _no_residual(group: Group, key: jax.Array, dtype: Any) -> dict[str, Float[Array, "L _ _"]]:
    """Returns the factors of residuals that are zero and can be trained: ``left`` is zero, ``right`` is not.

    The rows of ``right`` have norm 1 in expectation and are nearly orthogonal, so a gradient step on ``left``
    moves the weights as a step on the weights themselves would, projected onto these rows.
    """
    m, n = group.matrix
    # Another key than that of the coefficients. Drawn flat, which compiles faster.
    drawn = jax.random.normal(jax.random.fold_in(key, 1), (group.layers * group.rank * n,)) / n**0.5
    right = drawn.reshape(group.layers, group.rank, n)
    return {"left": jnp.zeros((group.layers, m, group.rank), dtype), "right": right.astype(dtype)}


def _for_each_channel(
    group: Group, coefficients: Float[Array, "L k"]
) -> Float[Array, "L k"] | Float[Array, "L k C"]:
    """Returns the coefficients of a group in which all channels start alike."""
    if not group.per_channel:
        return coefficients
    return jnp.repeat(coefficients[:, :, None], group.channels, axis=2)
