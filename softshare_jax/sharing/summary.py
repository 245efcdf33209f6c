"""What a plan makes of a model, as a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from softshare_jax.sharing import parameters
from softshare_jax.sharing.tree import PyTree

if TYPE_CHECKING:
    from softshare_jax.sharing.plan import Group, Plan

HEADER = ("group", "layers", "k", "shape", "first", "last", "before", "after")
# Columns of numbers, which are aligned at the right.
NUMBERS = (1, 2, 6, 7)


def size(shape: Sequence[int]) -> str:
    """Returns a shape as people read it, such as ``'3×3×16×16'``."""
    return "×".join(map(str, shape)) or "scalar"


def of_plan(plan: "Plan", params: PyTree) -> str:
    """Returns the table of ``Plan.summary``."""
    rows: list[tuple[str, ...]] = [HEADER]
    everything, shared_before, shared_after = parameters.total(params), 0, 0
    for group in plan.groups:
        counts = parameters.of_group(group)
        shared_before, shared_after = shared_before + counts.dense, shared_after + counts.shared
        first, last = str(group.members[0]), str(group.members[-1])
        numbers = (str(group.layers), str(group.templates), size(group.shape))
        rows.append((group.name, *numbers, first, last, f"{counts.dense:,}", f"{counts.shared:,}"))
    private = everything - shared_before
    after = private + shared_after
    rows.append(("private", *[""] * 5, f"{private:,}", f"{private:,}"))
    rows.append(("total", *[""] * 5, f"{everything:,}", f"{after:,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if place in NUMBERS else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    kept = f"{after:,} of {everything:,} parameters ({after / max(everything, 1):.1%})"
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], kept])


def of_group(group: "Group") -> str:
    """Returns a group as a line, for its ``repr``."""
    named = f"{group.templates} template{'s' if group.templates > 1 else ''}"
    how = f"share {named}"
    if group.assignment is not None:
        how = f"{'tied' if group.tied else 'folded'} into {named}"
    options = ["coefficients per channel"] if group.per_channel else []
    options += [f"residuals of rank {group.rank}"] if group.rank else []
    how += f" with {' and '.join(options)}" if options else ""
    return (
        f"{group.name}: {group.layers} layers of {size(group.shape)} {how}, "
        f"{group.members[0]} to {group.members[-1]}"
    )
