"""What a plan makes of a model, as a table."""

from collections.abc import Sequence

from softshare_jax.sharing import parameters
from softshare_jax.sharing.group import Group, size
from softshare_jax.sharing.tree import PyTree

HEADER = ("group", "layers", "k", "shape", "first", "last", "before", "after")
# Columns of numbers, which are aligned at the right.
NUMBERS = (1, 2, 6, 7)


def of_groups(groups: Sequence[Group], params: PyTree) -> str:
    """Returns the table of ``Plan.summary``."""
    rows: list[tuple[str, ...]] = [HEADER]
    everything, shared_before, shared_after = parameters.total(params), 0, 0
    for group in groups:
        counts = group.counts
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
