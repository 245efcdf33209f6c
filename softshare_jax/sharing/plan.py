"""The plan: which layers share templates, and how many templates they have."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from softshare_jax.sharing.tree import PyTree, named_arrays


class PlanError(ValueError):
    """A plan that contradicts itself or the parameters it is used on."""


@dataclasses.dataclass(frozen=True)
class Member:
    """One layer's weight in a parameter tree.

    Attributes:
        path: the leaf, as in ``'block_3/conv/kernel'``.
        index: row on the leading axis where the leaf stacks several layers (as
            ``nn.scan`` makes them); ``None`` where the leaf is one layer.
    """

    path: str
    index: int | None = None

    def __str__(self) -> str:
        return self.path if self.index is None else f"{self.path}[{self.index}]"


@dataclasses.dataclass(frozen=True)
class Group:
    """L layers of one weight shape that share k templates.

    Attributes:
        name: key of the group in the ``templates`` and ``coefficients``
            collections.
        members: the L layers, in the order in which the network runs them.
        templates: k, from 1 to L. More templates than layers would only add
            parameters: L templates already reach every set of L weights.
        shape: weight shape of one layer.
        assignment: for a folded group the template that each layer uses,
            ``[L]``: every row of coefficients has its one nonzero entry there,
            and training keeps it so. ``None`` where layers mix all templates.

    Raises:
        PlanError: the group has fewer than two layers, k is outside 1..L, or
            the assignment does not name one template per layer.
    """

    name: str
    members: tuple[Member, ...]
    templates: int
    shape: tuple[int, ...]
    assignment: tuple[int, ...] | None = None

    def __post_init__(self):
        layers = len(self.members)
        if layers < 2:
            named = ", ".join(map(str, self.members)) or "none"
            raise PlanError(f"group {self.name!r} needs two or more layers, it has {layers}: {named}")
        if not 1 <= self.templates <= layers:
            raise PlanError(
                f"group {self.name!r} has {layers} layers and asks for {self.templates} templates: "
                f"choose from 1 to {layers}"
            )
        if self.assignment is not None and (
            len(self.assignment) != layers or not set(self.assignment) <= set(range(self.templates))
        ):
            raise PlanError(
                f"group {self.name!r}: the assignment {self.assignment} does not give each of "
                f"{layers} layers one of {self.templates} templates"
            )

    @property
    def layers(self) -> int:
        """L, the number of layers."""
        return len(self.members)


@dataclasses.dataclass(frozen=True)
class Plan:
    """An immutable description of soft sharing; without groups, of a plain network.

    A plan is all that folding and analysis need to know about a network, so it
    is stored beside every checkpoint. It is also a rule: called on a parameter
    tree it checks that the tree fits and returns itself.

    Raises:
        PlanError: two groups have one name, a layer stands in two places, or a
            leaf is both one layer and a stack of layers.
    """

    groups: tuple[Group, ...] = ()

    def __post_init__(self):
        names = [group.name for group in self.groups]
        if len(set(names)) != len(names):
            raise PlanError(f"two groups have the same name: {', '.join(names)}")
        members = [member for group in self.groups for member in group.members]
        for member in members:
            if members.count(member) > 1:
                raise PlanError(f"{member} is a member twice")
        whole = {member.path for member in members if member.index is None}
        stacked = {member.path for member in members if member.index is not None}
        if both := whole & stacked:
            raise PlanError(f"{min(both)} is both one layer and a stack of layers")

    @property
    def paths(self) -> tuple[str, ...]:
        """The leaves that the plan replaces, each once, in order."""
        return tuple(dict.fromkeys(m.path for group in self.groups for m in group.members))

    @property
    def templates(self) -> dict[str, int]:
        """k of each group, by its name."""
        return {group.name: group.templates for group in self.groups}

    def with_templates(self, templates: int | Mapping[str, int]) -> "Plan":
        """Returns the plan with other numbers of templates; where k changes, layers are not assigned.

        Args:
            templates: k for all groups, or for those named.

        Raises:
            PlanError: k is outside 1..L, or there is no group of that name.
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
                else dataclasses.replace(group, templates=templates[group.name], assignment=None)
                for group in self.groups
            )
        )

    def __call__(self, params: PyTree) -> "Plan":
        """Checks the plan against plain parameters (arrays or their shapes).

        Raises:
            PlanError: a leaf is missing, has another shape, or is a stack of
                which the plan names only some layers.
        """
        leaves = named_arrays(params)
        rows: dict[str, set[int | None]] = {}
        for group in self.groups:
            for member in group.members:
                if member.path not in leaves:
                    raise PlanError(f"group {group.name!r} shares {member}, which the model has not")
                shape = tuple(leaves[member.path].shape)
                expected = group.shape if member.index is None else (shape[0], *group.shape)
                if shape != expected:
                    raise PlanError(
                        f"group {group.name!r} shares weights of shape {group.shape}, "
                        f"and {member.path} has shape {shape}"
                    )
                rows.setdefault(member.path, set()).add(member.index)
        for path, named in rows.items():
            layers = leaves[path].shape[0]
            if named != {None} and named != set(range(layers)):
                raise PlanError(
                    f"{path} stacks {layers} layers and the plan names {len(named)} of them: "
                    "name all, or keep the others in a leaf of their own"
                )
        return self

    def to_json(self) -> str:
        """Returns the plan as JSON text; ``from_json`` reads it back."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Reads a plan back.

        Raises:
            PlanError: the text is not a plan.
        """
        try:
            return cls(tuple(_group_from_dict(group) for group in json.loads(text)["groups"]))
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, PlanError):
                raise
            raise PlanError(f"this is not the JSON of a plan: {error}") from error


def _group_from_dict(group: Mapping[str, Any]) -> Group:
    assignment = group["assignment"]
    return Group(
        name=group["name"],
        members=tuple(Member(**member) for member in group["members"]),
        templates=group["templates"],
        shape=tuple(group["shape"]),
        assignment=None if assignment is None else tuple(assignment),
    )
