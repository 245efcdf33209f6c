"""The plan: which layers share templates, and how many templates they have."""

import collections
import dataclasses
import json
import operator
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from softshare_jax.sharing import summary, tree
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.group import Group
from softshare_jax.sharing.member import Member, Slice
from softshare_jax.sharing.parameters import COLLECTIONS
from softshare_jax.sharing.slices import check_slices
from softshare_jax.sharing.tree import Path, PyTree

# The newest version of the JSON. Version 0 has no version field, and paths as text only. Version 1 has no
# slices, version 2 has no tied groups, and version 3 no coefficients per channel and no residuals. A plan is
# written in the oldest version that has what it uses.
VERSION = 4
# Options of a group that older versions do not know, with the values that mean what these versions do.
NEWER = {"tied": False, "per_channel": False, "rank": 0}


@dataclasses.dataclass(frozen=True, repr=False)
class Plan:
    """An immutable description of soft sharing; without groups, of an unshared network.

    Folding and analysis need nothing else to know about a network, so every checkpoint has its plan
    beside it. A plan is also a rule: called on a parameter tree, it checks that the tree fits and
    returns itself.

    Raises:
        PlanError: two groups have the same name, a layer has two places, a leaf is both one layer and a
            stack of layers, or the slices of a leaf contradict each other.
    """

    groups: tuple[Group, ...] = ()

    def __post_init__(self) -> None:
        names = [group.name for group in self.groups]
        if len(set(names)) != len(names):
            raise PlanError(f"two groups have the same name: {', '.join(names)}")
        members = [member for group in self.groups for member in group.members]
        for member, times in collections.Counter(members).items():
            if times > 1:
                raise PlanError(f"{member} is a member twice")
        by_leaf: dict[Path, list[Member]] = {}
        for member in members:
            by_leaf.setdefault(member.keys, []).append(member)
        for path, found in by_leaf.items():
            if len({member.index is None for member in found}) > 1:
                raise PlanError(f"{tree.name(path)} is both one layer and a stack of layers")
            check_slices(tree.name(path), found)

    @property
    def leaves(self) -> tuple[Path, ...]:
        """Keys of the leaves with layers that share, each once, in order."""
        return tuple(dict.fromkeys(m.keys for group in self.groups for m in group.members))

    @property
    def slices(self) -> dict[Path, set[Slice]]:
        """The slices of each leaf that is not shared whole, with axes counted in the leaf."""
        found: dict[Path, set[Slice]] = {}
        for group in self.groups:
            for member in group.members:
                if member.slice_of_leaf is not None:
                    found.setdefault(member.keys, set()).add(member.slice_of_leaf)
        return found

    @property
    def paths(self) -> tuple[str, ...]:
        """The same as ``leaves``, as people read them."""
        return tuple(map(tree.name, self.leaves))

    @property
    def collections(self) -> tuple[str, ...]:
        """The collections of soft-shared variables; ``residuals`` only if a group has them."""
        return COLLECTIONS if any(group.rank for group in self.groups) else COLLECTIONS[:-1]

    @property
    def templates(self) -> dict[str, int]:
        """k of each group, by its name."""
        return {group.name: group.templates for group in self.groups}

    def with_templates(self, templates: int | Mapping[str, int]) -> "Plan":
        """Returns the plan with other numbers of templates. A group whose k changes has no assignment.

        Args:
            templates: k for all groups, or by group name.

        Raises:
            PlanError: k is outside 1..L, or a name is not that of a group.
        """
        names = [group.name for group in self.groups]
        if not isinstance(templates, Mapping):
            templates = dict.fromkeys(names, templates)
        if unknown := templates.keys() - set(names):
            raise PlanError(f"there is no group {min(unknown)!r}, the groups are {', '.join(names)}")
        return Plan(
            tuple(
                group
                if templates.get(group.name, group.templates) == group.templates
                else dataclasses.replace(group, templates=templates[group.name], assignment=None, tied=False)
                for group in self.groups
            )
        )

    def __repr__(self) -> str:
        lines = list(map(str, self.groups))
        return f"Plan({''.join(lines)})" if len(lines) < 2 else "\n  ".join(["Plan(", *lines]) + "\n)"

    def summary(self, params: PyTree) -> str:
        """Returns what the plan makes of a model as a table, to print.

        A line for each group has the number of its layers, k, the weight shape, the first and the last
        layer in order of run, and the number of parameters before and after sharing. Private parameters and
        the total follow.

        Args:
            params: dense parameters of the model (arrays or their shapes).

        Raises:
            PlanError: the plan does not fit the parameters.
        """
        return summary.of_groups(self(params).groups, params)

    def __call__(self, params: PyTree) -> "Plan":
        """Checks the plan against dense parameters (arrays or their shapes).

        Raises:
            PlanError: a leaf is missing, has another shape, does not hold real floating-point numbers, or
                is a stack and the plan names only some of its layers; or the leaves of a group have several
                dtypes.
        """
        leaves = tree.leaves(params)
        rows: dict[Path, set[int]] = {}
        for group in self.groups:
            for member in group.members:
                if member.keys not in leaves:
                    raise PlanError(
                        f"group {group.name!r} shares {member}, which is not a parameter of the model"
                    )
                leaf = leaves[member.keys]
                if not jnp.issubdtype(leaf.dtype, jnp.floating):
                    raise PlanError(
                        f"group {group.name!r} shares {member}, whose dtype is {leaf.dtype}: "
                        "only real floating-point weights can share"
                    )
                if member.of_shape(tuple(leaf.shape)) != group.shape:
                    place = "" if member.slice is None else f" and is sliced by [{member.slice}]"
                    raise PlanError(
                        f"group {group.name!r} shares weights of shape {group.shape}, "
                        f"and {member.path} has shape {tuple(leaf.shape)}{place}"
                    )
                if member.index is not None:
                    rows.setdefault(member.keys, set()).add(member.index)
            dtypes = {str(leaves[member.keys].dtype): member for member in group.members}
            if len(dtypes) > 1:
                listed = " and ".join(f"{dtype} ({member})" for dtype, member in sorted(dtypes.items()))
                raise PlanError(f"group {group.name!r} shares weights of several dtypes: {listed}")
        for path, named in rows.items():
            if named != set(range(leaves[path].shape[0])):
                raise PlanError(
                    f"{tree.name(path)} stacks {leaves[path].shape[0]} layers and the plan names "
                    f"{len(named)} of them: name all, or keep the others in a leaf of their own"
                )
        return self

    def to_json(self) -> str:
        """Returns the plan as JSON text; ``from_json`` reads it back."""
        version = max(2 if self.slices else 1, *map(_version, self.groups), 1)
        values = {"version": version, "groups": list(map(_group_as_dict, self.groups))}
        return json.dumps(values, indent=1, default=operator.index)  # numbers may be those of numpy

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Reads a plan back, of this version of the format or an older one.

        Raises:
            PlanError: the text is not a plan, or has a newer version.
        """
        try:
            values = json.loads(text)
            if values.get("version", 0) > VERSION:
                raise PlanError("this plan was written by a newer version of softshare_jax")
            return cls(tuple(_group_from_dict(group) for group in values["groups"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, PlanError):
                raise
            raise PlanError(f"this is not the JSON of a plan: {error}") from error


def _version(group: Group) -> int:
    """Returns the oldest version of the JSON that has all options of a group."""
    return 4 if group.per_channel or group.rank else 3 if group.tied else 1


def _as_dict(member: Member) -> dict[str, Any]:
    """Returns the arguments of a member, with the path as text if ``Member`` reads that back."""
    readable = member.keys and not any("/" in key for key in member.keys)
    values = {"path": member.path if readable else member.keys, "index": member.index}
    return values if member.slice is None else {**values, "slice": dataclasses.asdict(member.slice)}


def _group_as_dict(group: Group) -> dict[str, Any]:
    values = {**dataclasses.asdict(group), "members": [_as_dict(member) for member in group.members]}
    return {name: value for name, value in values.items() if name not in NEWER or value != NEWER[name]}


def _member_from_dict(values: Mapping[str, Any]) -> Member:
    cut = values.get("slice")
    return Member(**{**values, "slice": None if cut is None else Slice(**cut)})


def _group_from_dict(group: Mapping[str, Any]) -> Group:
    assignment = group["assignment"]
    return Group(
        name=group["name"],
        members=tuple(map(_member_from_dict, group["members"])),
        templates=group["templates"],
        shape=tuple(group["shape"]),
        assignment=None if assignment is None else tuple(assignment),
        **{name: group.get(name, default) for name, default in NEWER.items()},
    )
