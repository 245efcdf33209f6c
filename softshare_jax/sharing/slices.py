"""Leaves whose slices share: take the slices out, and put them back.

The rest of such a leaf is private. It keeps the name and the axes of the leaf, and the sliced axis is shorter
by the slices. If the slices cover the leaf, nothing is private, as for a leaf that is shared whole.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.member import Member, Slice


def check_slices(name: str, members: Iterable[Member]) -> None:
    """Rejects slices of a leaf that cannot be taken out together.

    Args:
        name: name of the leaf, for the message.
        members: all members of a plan in this leaf.

    Raises:
        PlanError: the leaf is also shared whole, slices overlap or lie on several axes, or the rows of a
            stack are cut in different places.
    """
    rows: dict[int | None, list[Slice | None]] = {}
    for member in members:
        rows.setdefault(member.index, []).append(member.slice)
    cuts = set()
    for slices in rows.values():
        present = sorted(cut for cut in slices if cut is not None)
        if present and len(present) < len(slices):
            raise PlanError(f"{name} is shared as a whole and as a slice: choose one")
        if len({cut.axis for cut in present}) > 1:
            raise PlanError(f"{name} is sliced along several axes: slice it along one")
        for first, second in itertools.pairwise(present):
            if second.start < first.stop:
                raise PlanError(f"slices [{first}] and [{second}] of {name} overlap")
        cuts.add(tuple(present))
    if len(cuts) > 1:
        raise PlanError(f"the rows of {name} are sliced in different places: slice all rows alike")


def take_out(leaf: Any, slices: Collection[Slice]) -> jax.Array | None:
    """Returns what is left of a leaf without some slices along one axis; ``None`` if nothing is left."""
    axis = min(slices).axis
    ends = [0, *itertools.chain(*((cut.start, cut.stop) for cut in sorted(slices))), leaf.shape[axis]]
    gaps = zip(ends[::2], ends[1::2], strict=True)
    left = [Slice(axis, start, stop).of(leaf) for start, stop in gaps if stop > start]
    return jnp.concatenate(left, axis) if left else None


def put_back(slices: Mapping[Slice, jax.Array], left: Any | None, name: str) -> jax.Array:
    """Returns the leaf of these slices: the inverse of ``take_out``.

    Args:
        slices: where each slice was, and its array.
        left: what was left of the leaf; ``None`` if nothing was.
        name: name of the leaf, for the message.

    Raises:
        PlanError: what was left is missing, or too small.
    """
    axis = min(slices).axis
    available = 0 if left is None else left.shape[axis]
    parts, at, used = [], 0, 0
    for cut in sorted(slices):
        if gap := cut.start - at:
            if used + gap > available:
                raise PlanError(
                    f"the private parameter {name} has length {available} on axis {axis}, "
                    f"and slice [{cut}] needs {used + gap} before it"
                )
            parts.append(Slice(axis, used, used + gap).of(left))
        parts.append(slices[cut])
        at, used = cut.stop, used + gap
    if used < available:
        parts.append(Slice(axis, used, available).of(left))
    return jnp.concatenate(parts, axis)
