"""Rules: functions from a parameter tree to a plan."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from softshare_jax.sharing import tree
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.group import Group
from softshare_jax.sharing.member import Member, Slice
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.tree import Path, PyTree

Rule = Callable[[PyTree], Plan]
Templates = int | Mapping[str, int] | None
# Options of all groups, or by group name; groups that are not named do not have them.
PerChannel = bool | Mapping[str, bool]
Rank = int | Mapping[str, int]
# Embeddings, the parameters of norms, and biases.
PRIVATE = r".*embed.*|.*norm(?!al).*|(.*/)?bias(/.*)?"


class _Layer(NamedTuple):
    member: Member
    shape: tuple[int, ...]


def by_regex(
    patterns: Mapping[str, str],
    templates: Templates = None,
    stacked: str | None = None,
    order: Sequence[str] | None = None,
    slices: Mapping[str, Slice] | None = None,
    per_channel: PerChannel = False,
    rank: Rank = 0,
) -> Rule:
    """Groups leaves by name: one group per regular expression.

    >>> rule = by_regex({"body": r"block_\\d+/conv/kernel"}, templates=2)

    Args:
        patterns: group name -> regular expression that matches the whole path of a leaf,
            with slashes between the keys.
        templates: k for all groups, or by group name; ``None`` for one template per layer.
        stacked: regular expression for the leaves whose leading axis counts layers, as ``nn.scan`` makes
            them. Each row is then a layer. If the leaves of a stack run together, row by row, let the
            first parenthesis match the name of the stack: ``r"(.*/blocks)/.*"``.
        order: paths of leaves in the order in which the network uses them, as ``order_of_use`` returns
            them. Other paths come after these, in natural sort order: ``block_2`` before ``block_10``.
        slices: group name -> the part of each of its layers that shares; the rest of the layer is
            private. Groups without a slice share whole layers.
        per_channel: whether each output channel has coefficients of its own, for all groups or by group name.
        rank: r, the rank of the residual of each layer, for all groups or by group name.

    Returns:
        A rule.

    Raises:
        PlanError: ``patterns`` is not a dictionary. The rule raises it if a pattern matches fewer than two
            layers or layers of several shapes or dtypes, k is outside 1..L, ``templates`` or ``slices`` name
            an unknown group, a slice does not fit, or ``stacked`` or ``order`` match no leaf.
    """
    if not isinstance(patterns, Mapping):
        raise PlanError(
            f"patterns are a dictionary of group names and regular expressions, not {patterns!r}: "
            "such as {'body': r'layer_\\d+/kernel'}"
        )

    def rule(params: PyTree) -> Plan:
        leaves = tree.leaves(params)
        matching = {name: _matching(pattern, leaves, f"group {name!r}") for name, pattern in patterns.items()}
        if not patterns:
            raise PlanError("the rule has no patterns; to share nothing, use Plan()")
        _check_names(slices, patterns)
        sort = _Sort(
            leaves,
            {path: leaf for found in matching.values() for path, leaf in found.items()},
            stacked,
            order,
        )
        groups = []
        for name, found in matching.items():
            layers = sort.layers(found.items())
            if slices and name in slices:
                layers = [_sliced(layer, slices[name], name) for layer in layers]
            shapes = {layer.shape for layer in layers}
            if len(shapes) > 1:
                raise PlanError(f"group {name!r} matches layers of several shapes: {sorted(shapes)}")
            members = [layer.member for layer in layers]
            groups.append(_group(name, members, shapes.pop(), templates, per_channel, rank))
        return _plan(groups, templates, per_channel, rank)(params)

    return rule


def by_shape(
    templates: Templates = None,
    exclude: str = PRIVATE,
    stacked: str | None = None,
    order: Sequence[str] | None = None,
    roles: bool = True,
    per_channel: PerChannel = False,
    rank: Rank = 0,
) -> Rule:
    """Groups weights with equal role, shape and dtype, in any model.

    The role of a weight is its path without numbers, so the queries of all blocks are one group and
    the keys another. Scalars, vectors, integers and weights that occur once stay private. So do the paths
    that ``exclude`` matches: embeddings, norms and biases, which are matrices in attention.

    Args:
        templates: k for all groups, or by group name; ``None`` for one template per layer. The name is the
            shape, such as ``'3x3x64x64'``, with the dtype if it is not float32: ``'3x3x64x64-bfloat16'``.
            If several roles have that shape, the role comes first: ``'block.query.kernel-64x64'``.
        exclude: regular expression for paths that stay private; case does not matter.
        stacked, order: as for ``by_regex``.
        roles: ``False`` groups by shape and dtype alone.
        per_channel, rank: as for ``by_regex``.

    Returns:
        A rule.

    Raises:
        PlanError: ``exclude`` is not a regular expression. The rule raises it if no two weights can share, k
            is outside 1..L, ``templates`` names an unknown group, or ``stacked`` or ``order`` match no
            weight.
    """
    try:
        private = re.compile(exclude, re.IGNORECASE)
    except (re.error, TypeError) as error:
        raise PlanError(f"exclude: {exclude!r} is not a regular expression: {error}") from error

    def rule(params: PyTree) -> Plan:
        leaves = tree.leaves(params)
        candidates = {
            path: leaf
            for path, leaf in leaves.items()
            if jnp.issubdtype(leaf.dtype, jnp.floating) and not private.fullmatch(tree.name(path))
        }
        alike: dict[tuple[str, str, tuple[int, ...]], list[Member]] = {}
        for member, shape in _Sort(leaves, candidates, stacked, order).layers(candidates.items()):
            if len(shape) >= 2:
                dtype = leaves[member.keys].dtype
                size = "x".join(map(str, shape)) + ("" if dtype == jnp.float32 else f"-{dtype}")
                alike.setdefault((size, _role(member.keys) if roles else "", shape), []).append(member)
        alike = {key: members for key, members in alike.items() if len(members) > 1}
        if not alike:
            raise PlanError(
                f"no two weights of the model have one {'role, ' if roles else ''}shape and dtype, "
                f"so none can share; looked at {_examples(candidates, with_shapes=True)}"
            )
        sizes = [size for size, _, _ in alike]
        names = [size if sizes.count(size) == 1 else f"{role}-{size}" for size, role, _ in alike]
        groups = [
            _group(name, members, shape, templates, per_channel, rank)
            for name, ((_, _, shape), members) in zip(names, alike.items(), strict=True)
        ]
        return _plan(groups, templates, per_channel, rank)(params)

    return rule


class _Sort:
    """Finds the layers of leaves, and their order."""

    def __init__(
        self,
        leaves: Mapping[Path, Any],
        candidates: Mapping[Path, Any],
        stacked: str | None,
        order: Sequence[str] | None,
    ):
        """Checks what the arguments of a rule match.

        Args:
            leaves: leaves of the model.
            candidates: leaves that may share.
            stacked, order: arguments of the rule.

        Raises:
            PlanError: an argument matches no candidate.
        """
        self._stacked = stacked
        names = {tree.name(path) for path in candidates}
        if stacked is not None:
            _matching(stacked, candidates, "stacked", leaves)
        if order is not None and not names & set(order):
            raise PlanError(
                f"order names none of the weights that can share: it has {', '.join(order[:2])}, "
                f"they are such as {_examples(candidates)}"
            )
        self._rank = {name: rank for rank, name in enumerate(order or ())}

    def layers(self, leaves: Iterable[tuple[Path, Any]]) -> list[_Layer]:
        """Returns every layer of these leaves, in order. Numbers in paths are compared by value."""
        layers: list[tuple[list[Any], _Layer]] = []
        stacks: dict[str, list[str]] = {}
        found = [(path, leaf, *self._stack(path)) for path, leaf in leaves]
        for path, _, stack, _ in found:
            stacks.setdefault(stack, []).append(tree.name(path))
        for path, leaf, stack, rows in found:
            # A stack has the place of its first leaf.
            place, within = min(map(self._place, stacks[stack])), self._place(tree.name(path))
            if not rows:
                layers.append(([place, 0, within], _Layer(Member(path), tuple(leaf.shape))))
                continue
            if not leaf.shape:
                raise PlanError(f"{tree.name(path)} is stacked, and it is a scalar")
            for row in range(leaf.shape[0]):
                layers.append(([place, row, within], _Layer(Member(path, row), tuple(leaf.shape[1:]))))
        return [layer for _, layer in sorted(layers, key=lambda item: item[0])]

    def _stack(self, path: Path) -> tuple[str, bool]:
        """Returns the name of the stack of a leaf, or of the leaf, and whether its rows are layers."""
        name = tree.name(path)
        match = re.fullmatch(self._stacked, name) if self._stacked is not None else None
        if match is None:
            return name, False
        return (match[1] if match.re.groups and match[1] is not None else name), True

    def _place(self, name: str) -> tuple[float, list[str | int]]:
        return self._rank.get(name, float("inf")), _natural(name)


def _natural(path: str) -> list[str | int]:
    """Splits a path into alternating text and numbers."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path)]


def _role(path: Path) -> str:
    """Returns a path without its numbers, as in ``'block.query.kernel'``."""
    parts = (re.sub(r"[_\-.]*\d+", "", part) for part in tree.name(path).split("/"))
    return ".".join(part for part in parts if part)


def _matching(
    pattern: str, leaves: Mapping[Path, Any], what: str, among: Mapping[Path, Any] | None = None
) -> dict[Path, Any]:
    """Returns the leaves whose whole path matches a regular expression.

    Raises:
        PlanError: no path matches, or it is not a regular expression.
    """
    try:
        matching = {path: leaf for path, leaf in leaves.items() if re.fullmatch(pattern, tree.name(path))}
        if matching:
            return matching
        near = {path: leaf for path, leaf in leaves.items() if re.search(pattern, tree.name(path))}
    except re.error as error:
        raise PlanError(f"{what}: {pattern!r} is not a regular expression: {error}") from error
    raise PlanError(
        f"{what}: no path matches {pattern!r} from end to end; "
        f"paths are such as {_examples(near or leaves or among or {})}"
    )


def _examples(leaves: Mapping[Path, Any], with_shapes: bool = False) -> str:
    """Returns two of the paths as text."""
    shown = [
        f"{tree.name(path)} {tuple(leaf.shape)}" if with_shapes else tree.name(path)
        for path, leaf in list(leaves.items())[:2]
    ]
    return ", ".join(shown) or "none"


def _sliced(layer: _Layer, part: Slice, group: str) -> _Layer:
    """Returns the part of a layer that shares.

    Raises:
        PlanError: the layer is too small.
    """
    shape = part.of_shape(layer.shape)
    if shape is None:
        raise PlanError(
            f"group {group!r} shares [{part}] of each layer, and {layer.member} has shape {layer.shape}"
        )
    return _Layer(Member(layer.member.keys, layer.member.index, part), shape)


def _group(
    name: str, members: list[Member], shape: tuple[int, ...], templates: Any, per_channel: Any, rank: Any
) -> Group:
    k, per_channel, rank = (
        option.get(name) if isinstance(option, Mapping) else option
        for option in (templates, per_channel, rank)
    )
    k = len(members) if k is None else k
    return Group(name, tuple(members), k, shape, per_channel=bool(per_channel), rank=rank or 0)


def _plan(groups: list[Group], *options: Any) -> Plan:
    """Returns the plan of these groups, after a check of the names in options."""
    for option in options:
        if isinstance(option, Mapping):
            _check_names(option, [group.name for group in groups])
    return Plan(tuple(groups))


def _check_names(given: Mapping[str, Any] | None, groups: Collection[str]) -> None:
    """Rejects names that are not those of groups.

    Raises:
        PlanError: a name is not that of a group.
    """
    if unknown := set(given or ()) - set(groups):
        raise PlanError(f"there is no group {min(unknown)!r}, the groups are {', '.join(groups)}")
