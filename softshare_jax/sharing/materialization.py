"""Puts the weights of all groups into a parameter tree, and takes them out."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core.meta import AxisMetadata
from flax.linen import PARTITION_NAME
from jaxtyping import Array, Float

from softshare_jax.sharing import tree
from softshare_jax.sharing.checks import check_plan, check_variables
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.member import Slice
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.slices import put_back, take_out
from softshare_jax.sharing.tree import Path, PyTree
from softshare_jax.sharing.weights import Variables, group_weights


def materialize(plan: Plan, variables: Variables) -> PyTree:
    """Returns the dense parameters of the network: W_i = sum_j alpha_ij T_j + left_i right_i.

    Pure and differentiable. Under ``jit`` it costs one small matrix product per group and step
    (Savarese & Maire 2019, section 3).

    Args:
        plan: which layers share.
        variables: ``params`` (private), and by group name ``templates`` ``[k, *shape]`` and
            ``coefficients`` ``[L, k]``, or ``[L, k, C]`` per output channel. A group with residuals has
            ``residuals`` ``{"left": [L, m, r], "right": [L, r, n]}``. Other collections are not read, and a
            plan without groups needs ``params`` alone.

    Returns:
        A parameter tree as the model itself initializes it, with the same structure: a dictionary, an NNX
        state, an Equinox module or another pytree.

    Raises:
        PlanError: the variables are not those of the plan.
    """
    check_variables(plan, variables)
    private = variables.get("params", {})
    leaves, slices = _leaves_and_slices(plan, variables)
    left = tree.leaves(private) if slices else {}
    for path, parts in slices.items():
        leaves[path] = put_back(parts, left.get(path), tree.name(path))
    return tree.join(private, leaves)


def _leaves_and_slices(
    plan: Plan, variables: Variables
) -> tuple[dict[Path, Array], dict[Path, dict[Slice, Array]]]:
    """Returns the leaves that are shared whole, and the shared slices of the others."""
    leaves: dict[Path, Array] = {}
    slices: dict[Path, dict[Slice, Array]] = {}

    def put(path: Path, cut: Slice | None, array: Array) -> None:
        if cut is None:
            leaves[path] = array
        else:
            slices.setdefault(path, {})[cut] = array

    stacks: dict[tuple[Path, Slice | None], list[tuple[tuple[int, ...], Array]]] = {}
    for group in plan.groups:
        weights = group_weights(group, variables)
        rows: dict[tuple[Path, Slice | None], list[tuple[int, int]]] = {}
        for layer, member in enumerate(group.members):
            if member.index is None:
                put(member.keys, member.slice, weights[layer])
            else:
                rows.setdefault((member.keys, member.slice_of_leaf), []).append((member.index, layer))
        for place, pairs in rows.items():
            indices, chosen = zip(*pairs, strict=True)
            stacks.setdefault(place, []).append((indices, _take(weights, chosen)))
    for (path, cut), rows_of_groups in stacks.items():
        # One gather per stacked leaf keeps the compiled program independent of depth.
        order = np.argsort(np.concatenate([indices for indices, _ in rows_of_groups]))
        stack = jnp.concatenate([weights for _, weights in rows_of_groups])
        put(path, cut, _take(stack, order))
    return leaves, slices


def _take(
    weights: Float[Array, "_ *shape"], layers: Sequence[int] | np.ndarray[Any, Any]
) -> Float[Array, "_ *shape"]:
    """Returns some layers of ``[L, *shape]``. Evenly spaced layers are sliced, which is cheapest."""
    steps = np.diff(layers)
    if len(steps) == 0 or (steps[0] > 0 and np.all(steps == steps[0])):
        return weights[layers[0] : layers[-1] + 1 : steps[0] if len(steps) else 1]
    return weights[np.asarray(layers)]


def stack_members(plan: Plan, params: PyTree) -> tuple[PyTree, dict[str, Float[Array, "_ ..."]]]:
    """Splits dense parameters into private ones and the weights of each group.

    This is the inverse of ``materialize``, except that the weights are not factorized.

    Returns:
        ``(private, dense)``: the parameters that no group shares, and for each group the weights of its
        layers, ``[L, *shape]``. If a slice of a leaf is shared, the rest of the leaf is private.

    Raises:
        PlanError: the plan does not fit the parameters, or these are only shapes.
    """
    check_plan(plan)
    private, leaves = tree.split(params, plan(params).leaves)
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves.values()):
        raise PlanError("this needs the weights themselves; their shapes are not enough")
    dense = {
        group.name: jnp.stack([member.of(leaves[member.keys]) for member in group.members])
        for group in plan.groups
    }
    left = {path: take_out(leaves[path], slices) for path, slices in plan.slices.items()}
    return tree.join(private, {path: leaf for path, leaf in left.items() if leaf is not None}), dense


def box_templates(
    plan: Plan, params: PyTree, templates: Mapping[str, Float[Array, "_ ..."]]
) -> dict[str, Any]:
    """Returns templates with the axis metadata of the weights that they represent.

    If the first layer of a group is boxed, as by ``nn.with_partitioning``, the templates are boxed too,
    with a leading template axis that is not partitioned.

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


def _template_box(box: AxisMetadata[Any], index: int | None) -> AxisMetadata[Any]:
    names = getattr(box, "names", ())
    if index is not None and names:
        box = box.remove_axis(0, {PARTITION_NAME: names[0]})
    return box.add_axis(0, {PARTITION_NAME: None})


def in_box_of(old: Any, templates: Float[Array, "k *shape"]) -> Any:
    """Returns templates in the box of earlier templates of the same group, if these are boxed."""
    return old.replace_boxed(templates) if tree.is_box(old) else templates
