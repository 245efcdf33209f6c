"""The layers of a group before and after folding, with loops as boxes that hold their body."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from softshare_jax import sharing
from softshare_jax.reporting import theme
from softshare_jax.sharing.loops import Step

# Shorter runs of layers are written out.
LEAST_RUN = 5


class Row(NamedTuple):
    """A sequence of layers, and what it is."""

    label: str
    text: str
    html: Markup


def rows(before: Sequence[int], after: Sequence[int]) -> list[Row]:
    """Returns what the page shows of a group.

    A weight that several layers use has a color: filled where it runs first, an outline where it runs again.

    Args:
        before: for each layer the first layer with the same weight, ``[L]``.
        after: the same for the folded group, ``[L]``.

    Returns:
        The layers before; after, in the order in which they run, if any were merged; and after, written with
        loops, if there are any.
    """
    folded, unfolded = shared_colors(before, after)
    steps = sharing.find_loops(after)
    found = [
        _row(f"before: {_count(before)}", before, unfolded),
        _row(f"after: {_count(after)}", after, folded),
    ]
    if tuple(before) == tuple(after):
        found = [_row(f"before and after: {_count(before)}", before, unfolded)]
    if any(isinstance(step, sharing.Loop) for step in steps):
        found.append(_row("after, written as loops", steps, folded))
    return found


def shared_colors(before: Sequence[int], after: Sequence[int]) -> tuple[dict[int, int], dict[int, int]]:
    """Numbers the weights that several layers use.

    Returns:
        ``(after, before)``: layer index of the weight -> number of its color. A weight that is shared before
        and after has one number; one that a single layer uses has none.
    """
    folded = {layer: number for number, layer in enumerate(_shared(after))}
    others = (layer for layer in _shared(before) if layer not in folded)
    extra = {layer: len(folded) + number for number, layer in enumerate(others)}
    return folded, {layer: (folded | extra)[layer] for layer in _shared(before)}


def written(steps: Sequence[Step]) -> str:
    """Returns layers and loops as text, ``'1 2 (3 4)×4'``; runs of layers are shortened to ``'1–9'``."""
    parts: list[str] = []
    start = 0
    while start < len(steps):
        step = steps[start]
        if isinstance(step, sharing.Loop):
            parts.append(f"({written(step.body)})×{step.times}")
            start += 1
            continue
        stop = start + 1
        while stop < len(steps) and steps[stop] == step + stop - start:
            stop += 1
        numbers = [str(step + 1 + offset) for offset in range(stop - start)]
        parts += numbers if len(numbers) < LEAST_RUN else [f"{numbers[0]}–{numbers[-1]}"]
        start = stop
    return " ".join(parts)


def _row(label: str, steps: Sequence[Step], colors: Mapping[int, int]) -> Row:
    return Row(label, written(steps), _boxes(steps, colors, set()))


def _boxes(steps: Sequence[Step], colors: Mapping[int, int], seen: set[int]) -> Markup:
    parts = []
    for step in steps:
        if isinstance(step, sharing.Loop):
            body = _boxes(step.body, colors, seen)
            parts.append(f'<span class="loop"><span class="times">×{step.times}</span>{body}</span>')
            continue
        kind, style = "layer", ""
        if step in colors:
            color = f"c{colors[step] % len(theme.SHARED)}"
            kind += " again" if step in seen else " first"
            style = f' style="--c:var(--{color});--on:var(--on-{color})"'
        parts.append(f'<span class="{kind}"{style}>{step + 1}</span>')
        seen.add(step)
    return Markup("".join(parts))


def _count(layers: Sequence[int]) -> str:
    weights = len(set(layers))
    if weights == len(layers):
        return f"{len(layers)} layers, each with a weight of its own"
    return f"{len(layers)} layers, {weights} distinct weight{'s' if weights > 1 else ''}"


def _shared(layers: Sequence[int]) -> list[int]:
    return [layer for layer in dict.fromkeys(layers) if list(layers).count(layer) > 1]
