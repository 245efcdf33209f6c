"""A group of layers that share templates."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.member import Member
from softshare_jax.sharing.parameters import COLLECTIONS, GroupParameters


@dataclasses.dataclass(frozen=True, repr=False)
class Group:
    """L layers of one weight shape that share k templates.

    Attributes:
        name: key of the group in the ``templates``, ``coefficients`` and ``residuals`` collections.
        members: the L layers, in the order in which the network runs them.
        templates: k, from 1 to L. More templates than layers would only add parameters: L templates
            already reach every set of L weights.
        shape: weight shape of one layer.
        assignment: for a folded group the template that each layer uses, ``[L]``. Every row of
            coefficients has its one nonzero entry there, and training keeps it so. ``None`` if layers
            mix all templates.
        tied: for a folded group whether layers with one template are equal. Their coefficients then count
            as 1, and training does not change them. Otherwise each layer scales its template.
        per_channel: whether each position on the last axis of the weight has coefficients of its own. In
            kernels of linen and NNX these are output channels; in attention, ``[inputs, heads, size]``, they
            are places within a head, the same for all heads. Coefficients are then ``[L, k, C]`` instead of
            ``[L, k]``.
        rank: r, the rank of the residual of each layer, a matrix that is added to its combination of
            templates. 0 for none; the smaller side of the weight as a matrix (see ``matrix``) reaches every
            weight.

    Raises:
        PlanError: the group has fewer than two layers, k is not a whole number or outside 1..L, a slice has
            another shape, the assignment does not name one template per layer, a tied group has no
            assignment, a folded group has residuals, the rank is not a whole number or outside its range, or
            a scalar has coefficients per channel.
    """

    name: str
    members: tuple[Member, ...]
    templates: int
    shape: tuple[int, ...]
    assignment: tuple[int, ...] | None = None
    tied: bool = False
    per_channel: bool = False
    rank: int = 0

    def __post_init__(self) -> None:
        layers = len(self.members)
        if layers < 2:
            named = ", ".join(map(str, self.members)) or "none"
            raise PlanError(f"group {self.name!r} needs two or more layers, it has {layers}: {named}")
        for option in ("templates", "rank"):
            if not isinstance(number := getattr(self, option), int | np.integer):
                raise PlanError(f"group {self.name!r}: {option} is a whole number, not {number!r}")
        if not 1 <= self.templates <= layers:
            raise PlanError(
                f"group {self.name!r} has {layers} layers and asks for {self.templates} templates: "
                f"choose from 1 to {layers}"
            )
        for member in self.members:
            if member.slice is not None and self.shape[member.slice.axis :][:1] != (member.slice.size,):
                raise PlanError(
                    f"group {self.name!r} shares weights of shape {self.shape}, "
                    f"and {member} has another shape"
                )
        if self.assignment is not None and (
            len(self.assignment) != layers or not set(self.assignment) <= set(range(self.templates))
        ):
            raise PlanError(
                f"group {self.name!r}: the assignment {self.assignment} does not give each of "
                f"{layers} layers one of {self.templates} templates"
            )
        if self.tied and self.assignment is None:
            raise PlanError(f"group {self.name!r} is tied and has no assignment: only a folded group is tied")
        if self.per_channel and not self.shape:
            raise PlanError(f"group {self.name!r} shares scalars, which have no channels")
        if not 0 <= self.rank <= min(self.matrix):
            raise PlanError(
                f"group {self.name!r} shares weights of shape {self.shape} and asks for residuals of rank "
                f"{self.rank}: choose from 0 to {min(self.matrix)}"
            )
        if self.rank and self.assignment is not None:
            raise PlanError(
                f"group {self.name!r} has an assignment and residuals: layers of a folded group are "
                "multiples of their template, so it needs rank 0"
            )

    @property
    def layers(self) -> int:
        """L, the number of layers."""
        return len(self.members)

    @property
    def channels(self) -> int:
        """C with coefficients per channel, else 1: the number of columns with coefficients of their own."""
        return self.shape[-1] if self.per_channel else 1

    @property
    def coefficients_shape(self) -> tuple[int, ...]:
        """``(L, k)``, or ``(L, k, C)`` per channel."""
        shape = (self.layers, self.templates)
        return (*shape, self.channels) if self.per_channel else shape

    @property
    def collections(self) -> tuple[str, ...]:
        """The collections with arrays of the group; ``residuals`` only if it has them."""
        return COLLECTIONS[1:] if self.rank else COLLECTIONS[1:-1]

    @property
    def matrix(self) -> tuple[int, int]:
        """``(m, n)``, the sides of one weight as a matrix; n is the last axis of the weight."""
        return math.prod(self.shape[:-1]), math.prod(self.shape[-1:])

    @property
    def parameters(self) -> int:
        """Number of parameters of templates, coefficients and residuals."""
        return self.counts.shared

    @property
    def counts(self) -> GroupParameters:
        """Numbers of parameters of the parts of the group, and of its layers without sharing."""
        one = math.prod(self.shape)
        return GroupParameters(
            templates=self.templates * one,
            coefficients=math.prod(self.coefficients_shape),
            residuals=self.layers * self.rank * sum(self.matrix),
            dense=self.layers * one,
        )

    def __str__(self) -> str:
        named = f"{self.templates} template{'s' if self.templates > 1 else ''}"
        how = f"share {named}"
        if self.assignment is not None:
            how = f"{'tied' if self.tied else 'folded'} into {named}"
        options = ["coefficients per channel"] if self.per_channel else []
        options += [f"residuals of rank {self.rank}"] if self.rank else []
        how += f" with {' and '.join(options)}" if options else ""
        return (
            f"{self.name}: {self.layers} layers of {size(self.shape)} {how}, "
            f"{self.members[0]} to {self.members[-1]}"
        )

    def __repr__(self) -> str:
        return f"Group({self})"


def size(shape: Sequence[int]) -> str:
    """Returns a shape as people read it, such as ``'3×3×16×16'``."""
    return "×".join(map(str, shape)) or "scalar"
