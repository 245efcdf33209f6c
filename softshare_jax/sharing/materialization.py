"""The one place where weights are computed from templates."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core.meta import AxisMetadata
from flax.linen import PARTITION_NAME

from softshare_jax.sharing import tree
from softshare_jax.sharing.checks import check_plan, check_variables
from softshare_jax.sharing.plan import Group, Plan
from softshare_jax.sharing.tree import Path, PyTree

Variables = Mapping[str, Any]


def group_templates(group: Group, variables: Variables) -> jax.Array:
    """Returns the templates of a group, ``[k, *shape]``, out of their box."""
    return jnp.asarray(tree.unbox(variables["templates"][group.name]))


def group_coefficients(group: Group, variables: Variables) -> jax.Array:
    """Returns the coefficients of a group as they count, ``[L, k]``, in float32 or finer.

    Of a folded group only the entries that its assignment names count. All others are zero here
    whatever the variables hold, and so is their gradient, so that no optimizer can part its layers.
    """
    coefficients = in_float32(jnp.asarray(variables["coefficients"][group.name]))
    if group.assignment is None:
        return coefficients
    used = np.arange(group.templates) == np.array(group.assignment)[:, None]
    return jnp.where(used, coefficients, 0)


def group_rows(group: Group, variables: Variables) -> jax.Array:
    """Returns the weights of a group as they are before they are rounded, ``[L, d]`` in float32 or finer.

    In full precision on every backend: matrix units would otherwise round the weights to
    bfloat16 before the network has even run.
    """
    templates = in_float32(group_templates(group, variables)).reshape(group.templates, -1)
    coefficients = group_coefficients(group, variables)
    return jnp.matmul(coefficients, templates, precision=jax.lax.Precision.HIGHEST)


def group_weights(group: Group, variables: Variables) -> jax.Array:
    """Returns the weights of a group, ``[L, *shape]``: W_i = sum_j alpha_ij T_j.

    They have the dtype of the templates, which is that of the model's own parameters.
    """
    templates = group_templates(group, variables)
    weights = jnp.einsum(
        "lk,k...->l...",
        group_coefficients(group, variables),
        in_float32(templates),
        precision=jax.lax.Precision.HIGHEST,
    )
    return weights.astype(templates.dtype)


def in_float32(array: jax.Array) -> jax.Array:
    """Returns an array in float32, or in its own dtype where that is finer."""
    return array if array.dtype == jnp.float64 else array.astype(jnp.float32)


def materialize(plan: Plan, variables: Variables) -> PyTree:
    """Returns the dense parameters of the network: W_i = sum_j alpha_ij T_j.

    Pure and differentiable; under jit it costs one small matrix product a group
    and step (Savarese & Maire 2019, section 3).

    Args:
        plan: which layers share.
        variables: ``params``, the private parameters; ``templates`` and
            ``coefficients``, by group name ``[k, *shape]`` and ``[L, k]``. Other
            collections are not looked at, and a plan without groups needs
            ``params`` alone.

    Returns:
        A parameter tree as the model itself would have initialized it: of the same structure, be it
        a dictionary, an NNX state or an Equinox module.

    Raises:
        PlanError: the variables are not those of the plan.
    """
    check_variables(plan, variables)
    leaves: dict[Path, jax.Array] = {}
    stacks: dict[Path, list[tuple[list[int], jax.Array]]] = {}
    for group in plan.groups:
        weights = group_weights(group, variables)
        rows: dict[Path, list[tuple[int, int]]] = {}
        for layer, member in enumerate(group.members):
            if member.index is None:
                leaves[member.keys] = weights[layer]
            else:
                rows.setdefault(member.keys, []).append((member.index, layer))
        for path, pairs in rows.items():
            indices, chosen = zip(*pairs, strict=True)
            stacks.setdefault(path, []).append((list(indices), _take(weights, chosen)))
    for path, parts in stacks.items():
        # One gather for each stacked leaf keeps the compiled program independent of depth.
        order = np.argsort(np.concatenate([indices for indices, _ in parts]))
        leaves[path] = _take(jnp.concatenate([weights for _, weights in parts]), order)
    return tree.join(variables.get("params", {}), leaves)


def _take(weights: jax.Array, layers: Sequence[int] | np.ndarray) -> jax.Array:
    """Returns some layers of ``[L, *shape]``; evenly spaced ones as a slice, which costs least."""
    steps = np.diff(layers)
    if len(steps) == 0 or (steps[0] > 0 and np.all(steps == steps[0])):
        return weights[layers[0] : layers[-1] + 1 : steps[0] if len(steps) else 1]
    return weights[np.asarray(layers)]


def stack_members(plan: Plan, params: PyTree) -> tuple[PyTree, dict[str, jax.Array]]:
    """Splits dense parameters: the inverse of ``materialize``, up to the factorization.

    Returns:
        ``(private, dense)``: the parameters that no group shares, and for each
        group the weights of its layers, ``[L, *shape]``.

    Raises:
        PlanError: the plan does not fit the parameters.
    """
    check_plan(plan)
    private, leaves = tree.split(params, plan(params).leaves)
    dense = {
        group.name: jnp.stack(
            [leaves[m.keys] if m.index is None else leaves[m.keys][m.index] for m in group.members]
        )
        for group in plan.groups
    }
    return private, dense


def box_templates(plan: Plan, params: PyTree, templates: Mapping[str, jax.Array]) -> dict[str, Any]:
    """Returns templates with the axis metadata of the weights that they stand for.

    Where the first layer of a group is boxed, as ``nn.with_partitioning`` does, so are its templates, with
    a leading template axis that is not partitioned.

    Args:
        plan: which layers share.
        params: dense parameters, boxed or not.
        templates: ``{group: [k, *shape]}``.
    """
    leaves = tree.boxed_leaves(params)
    boxed = {}
    for group in plan.groups:
        member, value = group.members[0], templates[group.name]
        box = leaves[member.keys]
        boxed[group.name] = (
            _template_box(box, member.index).replace_boxed(value) if tree.is_box(box) else value
        )
    return boxed


def _template_box(box: AxisMetadata, index: int | None) -> AxisMetadata:
    names = getattr(box, "names", ())
    if index is not None and names:
        box = box.remove_axis(0, {PARTITION_NAME: names[0]})
    return box.add_axis(0, {PARTITION_NAME: None})


def in_box_of(old: Any, templates: jax.Array) -> Any:
    """Returns templates in the box that others of the same group have, if they have one."""
    return old.replace_boxed(templates) if tree.is_box(old) else templates
