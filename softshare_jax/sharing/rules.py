"""Rules: functions from a parameter tree to a plan."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from softshare_jax.sharing.plan import Group, Member, Plan, PlanError
from softshare_jax.sharing.tree import PyTree, named_arrays

Rule = Callable[[PyTree], Plan]
Templates = int | Mapping[str, int] | None
# Embeddings, whatever a norm holds, and biases.
PRIVATE = r".*embed.*|.*norm(?!al).*|(.*/)?bias(/.*)?"


class _Layer(NamedTuple):
    member: Member
    shape: tuple[int, ...]


def by_regex(patterns: Mapping[str, str], templates: Templates = None, stacked: str | None = None) -> Rule:
    """Groups named leaves: one group for each regular expression.

    >>> rule = by_regex({"body": r"block_\\d+/conv/kernel"}, templates=2)

    Args:
        patterns: group name -> expression that the whole path of a leaf must
            match. Layers are ordered as a person counts: ``block_2`` before
            ``block_10``.
        templates: k for all groups, or by group name; ``None`` for one template
            per layer.
        stacked: expression for the leaves whose leading axis counts layers (as
            ``nn.scan`` makes them); each row is then a layer. Where the leaves of one stack
            run together, row by row, its first parenthesis names the stack, as in
            ``r"(.*/blocks)/.*"``.

    Returns:
        A rule.

    Raises:
        PlanError: the rule raises it where a pattern matches fewer than two layers or
            layers of several shapes, or ``templates`` names another group.
    """

    def rule(params: PyTree) -> Plan:
        leaves = named_arrays(params)
        groups = []
        for name, pattern in patterns.items():
            matching = [(path, leaf) for path, leaf in leaves.items() if re.fullmatch(pattern, path)]
            if not matching:
                near = [path for path in leaves if re.search(pattern, path)] or [*leaves]
                raise PlanError(
                    f"group {name!r}: no path matches {pattern!r} from end to end; "
                    f"paths are such as {', '.join(near[:2])}"
                )
            layers = _layers(matching, stacked)
            shapes = {layer.shape for layer in layers}
            if len(shapes) > 1:
                raise PlanError(f"group {name!r} matches layers of several shapes: {sorted(shapes)}")
            shape = shapes.pop() if shapes else ()
            groups.append(_group(name, [layer.member for layer in layers], shape, templates))
        return _plan(groups, templates)(params)

    return rule


def by_shape(templates: Templates = None, exclude: str = PRIVATE, stacked: str | None = None) -> Rule:
    """Groups all weights of equal shape and dtype, in any model.

    Scalars, vectors, whole numbers and shapes that occur once stay private, and so does what
    ``exclude`` names: embeddings, norms and biases, which attention has as matrices.

    Args:
        templates: k for all groups, at most the layers of each; or by group name,
            which is the shape, as in ``'3x3x64x64'`` or, where they are not float32,
            ``'3x3x64x64-bfloat16'``; ``None`` for one template per layer.
        exclude: expression for paths that stay private, whatever their case.
        stacked: as for ``by_regex``.

    Returns:
        A rule.

    Raises:
        PlanError: the rule raises it where ``templates`` names a group that there is not.
    """

    def rule(params: PyTree) -> Plan:
        leaves = named_arrays(params)
        candidates = (
            (path, leaf)
            for path, leaf in leaves.items()
            if jnp.issubdtype(leaf.dtype, jnp.floating) and not re.fullmatch(exclude, path, re.IGNORECASE)
        )
        alike: dict[tuple[str, tuple[int, ...]], list[Member]] = {}
        for member, shape in _layers(candidates, stacked):
            if len(shape) >= 2:
                dtype = leaves[member.path].dtype
                name = "x".join(map(str, shape)) + ("" if dtype == jnp.float32 else f"-{dtype}")
                alike.setdefault((name, shape), []).append(member)
        groups = [
            _group(name, members, shape, templates, at_most_layers=True)
            for (name, shape), members in alike.items()
            if len(members) > 1
        ]
        return _plan(groups, templates)(params)

    return rule


def _layers(leaves: Iterable[tuple[str, Any]], stacked: str | None) -> list[_Layer]:
    """Returns every layer of these leaves, in order; numbers in paths count by value."""
    layers = []
    for path, leaf in leaves:
        shape = tuple(leaf.shape)
        match = re.fullmatch(stacked, path) if stacked is not None else None
        if match is None:
            layers.append((_natural(path), _Layer(Member(path), shape)))
            continue
        stack = match[1] if match.re.groups and match[1] is not None else path
        for row in range(shape[0]):
            order = [*_natural(stack), row, *_natural(path.removeprefix(stack))]
            layers.append((order, _Layer(Member(path, row), shape[1:])))
    return [layer for _, layer in sorted(layers, key=lambda item: item[0])]


def _natural(path: str) -> list[str | int]:
    """Splits a path into text and numbers, in turn."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path)]


def _group(
    name: str,
    members: list[Member],
    shape: tuple[int, ...],
    templates: Templates,
    at_most_layers: bool = False,
) -> Group:
    k = templates.get(name) if isinstance(templates, Mapping) else templates
    if k is None:
        k = len(members)
    return Group(name, tuple(members), min(k, len(members)) if at_most_layers else k, shape)


def _plan(groups: list[Group], templates: Templates) -> Plan:
    """Returns the plan, if every group that ``templates`` names is there."""
    names = [group.name for group in groups]
    if isinstance(templates, Mapping) and (unknown := templates.keys() - set(names)):
        raise PlanError(f"there is no group {min(unknown)!r}, the groups are {', '.join(names) or 'none'}")
    return Plan(tuple(groups))
