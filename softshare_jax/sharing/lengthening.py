"""Lengthening: the loops of a folded network run more often, or less often."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from softshare_jax.sharing import tree
from softshare_jax.sharing.checks import check_variables
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.folding import Folded, distinct_layers
from softshare_jax.sharing.group import Group
from softshare_jax.sharing.loops import Loop, Step, find_loops, format_loops, unroll
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.rules import Rule
from softshare_jax.sharing.slices import take_out
from softshare_jax.sharing.tree import Path, PyTree
from softshare_jax.sharing.weights import Variables

# Leaves that an error names.
NAMED = 3


def lengthen(plan: Plan, variables: Variables, rule: Rule, params: PyTree) -> Folded:
    """Returns a deeper network of the same kind, in which loops run more often.

    ``(1)×20`` becomes ``(1)×80``, and ``1 2 (3 4)×4`` becomes ``1 2 (3 4)×12``. Every outermost loop of a
    group gets the same number of additional turns. They follow the last turn and repeat it, its scalars
    included. Layers outside of loops, templates and private parameters do not change. With no additional
    turns the network computes the same bits.

    >>> import jax, jax.numpy as jnp
    >>> from softshare_jax import sharing
    >>> rule = sharing.by_regex({"body": r"layer_\\d+"})
    >>> shallow, deep = ({f"layer_{i}": jnp.ones(3) for i in range(depth)} for depth in (4, 10))
    >>> folded = sharing.fold(rule(shallow), sharing.from_dense(rule(shallow), shallow))
    >>> longer = sharing.lengthen(*folded, rule, deep)
    >>> sharing.format_loops(sharing.find_loops(sharing.distinct_layers(*longer)["body"]))
    '(1)×10'

    Args:
        plan: plan of a folded network.
        variables: its variables.
        rule: the rule that made the plan of the network before it was folded, or a plan of the deeper
            network. Only its groups and their layers count, not its templates.
        params: dense parameters of the deeper network, or their shapes.

    Returns:
        The plan and variables of the deeper network. Collections that do not belong to soft sharing are those
        of ``variables``. If layers have arrays of their own there, such as statistics, add those of the
        additional layers.

    Raises:
        PlanError: a group has no loops, its layers do not become that many by additional turns, the groups
            of both networks differ, or one network has private parameters that the other does not have.
    """
    return _with_layers(plan, variables, rule, params, 1)


def shorten(plan: Plan, variables: Variables, rule: Rule, params: PyTree) -> Folded:
    """Returns a shallower network, in which loops run less often: the inverse of ``lengthen``.

    Every outermost loop of a group loses the same number of turns, the last ones. One turn remains at
    least.

    Args:
        plan, variables: as for ``lengthen``.
        rule, params: as for ``lengthen``, of the shallower network.

    Raises:
        PlanError: as for ``lengthen``.
    """
    return _with_layers(plan, variables, rule, params, -1)


def _with_layers(plan: Plan, variables: Variables, rule: Rule, params: PyTree, sign: int) -> Folded:
    check_variables(plan, variables)
    other = rule(params)
    if [(g.name, g.shape) for g in plan.groups] != [(g.name, g.shape) for g in other.groups]:
        there, here = (", ".join(f"{g.name} {g.shape}" for g in p.groups) for p in (other, plan))
        raise PlanError(
            f"the other network has the groups {there or 'none'}, and this one has {here or 'none'}"
        )
    private = _private(variables, other, params)
    same = distinct_layers(plan, variables)
    groups: list[Group] = []
    # Templates do not depend on the number of layers.
    by_layer: dict[str, dict[str, Any]] = {name: {} for name in plan.collections[2:]}
    for old, new in zip(plan.groups, other.groups, strict=True):
        source = _sources(old, same[old.name], new.layers, sign)
        for name, arrays in by_layer.items():
            if name in old.collections:
                rows = functools.partial(_rows, layers=np.array(source))
                arrays[old.name] = jax.tree.map(rows, variables[name][old.name])
        assignment = None if old.assignment is None else tuple(old.assignment[layer] for layer in source)
        groups.append(dataclasses.replace(old, members=new.members, assignment=assignment))
    return Folded(Plan(tuple(groups)), {**variables, "params": private, **by_layer})


def _rows(array: Any, layers: np.ndarray[Any, Any]) -> jax.Array:
    return jnp.asarray(array)[layers]


def _sources(group: Group, same: tuple[int, ...], layers: int, sign: int) -> tuple[int, ...]:
    """Returns for each layer of the other network the layer of this one that it copies, ``[layers]``.

    Args:
        group: the group in this network.
        same: for each of its layers the first equal one, ``[L]``.
        layers: number of layers of the other network.
        sign: 1 if loops may only get more turns, -1 if they may only get fewer.

    Raises:
        PlanError: no number of turns gives that many layers.
    """
    if layers == group.layers:
        return tuple(range(layers))
    steps = find_loops(same)
    loops = [step for step in steps if isinstance(step, Loop)]
    if not loops:
        raise PlanError(
            f"group {group.name!r} has {group.layers} layers and no loops ({format_loops(steps)}), "
            f"so it cannot have {layers} layers: fold it first, with a lower threshold"
        )
    period, most = sum(map(_written, loops)), min(loop.times for loop in loops) - 1
    turns, rest = divmod(layers - group.layers, period)
    if rest or turns * sign < 0 or turns + most < 0:
        n = "+ {}n" if sign > 0 else "- {}n, n up to {}"
        raise PlanError(
            f"group {group.name!r} has {group.layers} layers ({format_loops(steps)}), and its loops can make "
            f"{group.layers} {n.format(period, most)} of them, not {layers}"
        )
    found: list[int] = []
    start = 0
    for step in steps:
        times, length = (step.times if isinstance(step, Loop) else 1), _written(step)
        for turn in range(times + (turns if isinstance(step, Loop) else 0)):
            first = start + min(turn, times - 1) * length
            found += range(first, first + length)
        start += times * length
    return tuple(found)


def _written(step: Step) -> int:
    """Returns the number of layers of one turn."""
    return len(unroll(step.body)) if isinstance(step, Loop) else 1


def _private(variables: Variables, other: Plan, params: PyTree) -> PyTree:
    """Returns the private parameters in the tree of the other network.

    Raises:
        PlanError: a leaf is missing in one of the two, or has another shape.
    """
    rest, _ = tree.split(params, other.leaves)
    expected = {path: tuple(leaf.shape) for path, leaf in tree.leaves(rest).items()}
    leaves = tree.leaves(params)
    for path, slices in other.slices.items():
        left = jax.eval_shape(lambda leaf, cut=slices: take_out(leaf, cut), leaves[path])
        if left is not None:
            expected[path] = tuple(left.shape)
    here = tree.leaves(variables.get("params", {}))
    found = {path: tuple(leaf.shape) for path, leaf in here.items()}
    odd = [path for path in {**expected, **found} if expected.get(path) != found.get(path)]
    if odd:
        raise PlanError(
            f"{_names(odd)} {'is' if len(odd) == 1 else 'are'} not shared and not the same in both "
            "networks, so additional layers have no such parameters: share them too, or use a network "
            "whose layers have no parameters of their own, such as one without batch-norm"
        )
    return tree.join(rest, here)


def _names(paths: list[Path]) -> str:
    named = ", ".join(tree.name(path) for path in paths[:NAMED])
    return named if len(paths) <= NAMED else f"{named} and {len(paths) - NAMED} more"
