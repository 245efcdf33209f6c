"""Rules: functions from a parameter tree to a plan."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from softshare_jax.sharing.plan import Group, Member, Plan, PlanError
from softshare_jax.sharing.tree import PyTree, named_leaves

Rule = Callable[[PyTree], Plan]
Templates = int | Mapping[str, int] | None


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
            ``nn.scan`` makes them); each row is then a layer.

    Returns:
        A rule.

    Raises:
        PlanError: the rule raises it where a pattern matches fewer than two layers or
            layers of several shapes.
    """

    def rule(params: PyTree) -> Plan:
        leaves = named_leaves(params)
        groups = []
        for name, pattern in patterns.items():
            layers = _layers((path, leaf) for path, leaf in leaves.items() if re.fullmatch(pattern, path))
            members, shapes = _members(layers, stacked)
            if len(set(shapes)) > 1:
                raise PlanError(f"group {name!r} matches layers of several shapes: {sorted(set(shapes))}")
            groups.append(_group(name, members, shapes[0] if shapes else (), templates))
        return Plan(tuple(groups))(params)

    return rule


def by_shape(templates: Templates = None, exclude: str = r".*embed.*", stacked: str | None = None) -> Rule:
    """Groups all weights of equal shape, in any model.

    Scalars, vectors (biases, norm scales) and shapes that occur once stay
    private.

    Args:
        templates: k for all groups, at most the layers of each; or by group name,
            which is the shape, as in ``'3x3x64x64'``; ``None`` for one template
            per layer.
        exclude: expression for paths that stay private, whatever their case.
        stacked: as for ``by_regex``.

    Returns:
        A rule.
    """

    def rule(params: PyTree) -> Plan:
        leaves = named_leaves(params).items()
        candidates = _layers((p, leaf) for p, leaf in leaves if not re.fullmatch(exclude, p, re.IGNORECASE))
        by_size: dict[tuple[int, ...], list[Member]] = {}
        for member, shape in zip(*_members(candidates, stacked), strict=True):
            if len(shape) >= 2:
                by_size.setdefault(shape, []).append(member)
        groups = [
            _group("x".join(map(str, shape)), members, shape, templates, at_most_layers=True)
            for shape, members in by_size.items()
            if len(members) > 1
        ]
        return Plan(tuple(groups))(params)

    return rule


def _layers(leaves: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Sorts leaves by path, numbers by value."""
    return sorted(
        leaves, key=lambda item: [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", item[0])]
    )


def _members(
    leaves: list[tuple[str, Any]], stacked: str | None
) -> tuple[list[Member], list[tuple[int, ...]]]:
    """Returns every layer of these leaves with its weight shape."""
    members: list[Member] = []
    shapes: list[tuple[int, ...]] = []
    for path, leaf in leaves:
        if stacked is not None and re.fullmatch(stacked, path):
            members += [Member(path, index) for index in range(leaf.shape[0])]
            shapes += [tuple(leaf.shape[1:])] * leaf.shape[0]
        else:
            members.append(Member(path))
            shapes.append(tuple(leaf.shape))
    return members, shapes


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
