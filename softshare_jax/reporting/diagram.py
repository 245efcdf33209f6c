"""A group of layers drawn before and after folding, with its loops."""

import dataclasses
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from softshare_jax.reporting.picture import add_canvas, new_figure
from softshare_jax.reporting.theme import Theme, text_on
from softshare_jax.sharing import Loop, find_loops
from softshare_jax.sharing.loops import Step

# Boxes on a line; a loop that is longer keeps its own line whole.
COLUMNS = 20
# In inches.
PITCH, BOX, LEVEL, LINE_GAP, ROW_GAP, HEADING, MARGIN = 0.5, 0.36, 0.34, 0.2, 0.28, 0.3, 0.02


@dataclasses.dataclass(frozen=True)
class Box:
    """A layer in the drawing.

    Attributes:
        layer: index of the layer whose weight runs here, from 0.
        line, column: its place.
        again: whether an earlier box has the same weight.
    """

    layer: int
    line: int
    column: int
    again: bool


@dataclasses.dataclass(frozen=True)
class Bracket:
    """A loop in the drawing: from the box in column ``last`` back to the one in column ``first``.

    Attributes:
        line, first, last: its place.
        level: 1 for a loop without inner loops, and above every loop that it holds.
        times: how often its body runs.
    """

    line: int
    first: int
    last: int
    level: int
    times: int


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the boxes and loops of a sequence of layers lie.

    Attributes:
        boxes: in the order in which they are written.
        brackets: inner loops before those that hold them.
    """

    boxes: tuple[Box, ...]
    brackets: tuple[Bracket, ...]

    @property
    def columns(self) -> int:
        """Boxes on the longest line."""
        return max((box.column + 1 for box in self.boxes), default=0)

    @property
    def levels(self) -> tuple[int, ...]:
        """For each line how many loops lie above one another."""
        lines = max((box.line + 1 for box in self.boxes), default=0)
        return tuple(max((b.level for b in self.brackets if b.line == n), default=0) for n in range(lines))


def lay_out(steps: Sequence[Step], columns: int = COLUMNS) -> Layout:
    """Places layers and loops on lines, as ``find_loops`` writes them.

    Args:
        steps: layer indices and loops, which may hold loops.
        columns: boxes on a line. A line breaks between steps, never within a loop, so a loop with
            more boxes makes a longer line.
    """
    boxes: list[Box] = []
    brackets: list[Bracket] = []
    seen: set[int] = set()
    line = column = 0
    for step in steps:
        size = _boxes_in(step)
        if column and column + size > columns:
            line, column = line + 1, 0
        column, _ = _place(step, line, column, boxes, brackets, seen)
    return Layout(tuple(boxes), tuple(brackets))


def _boxes_in(step: Step) -> int:
    return sum(map(_boxes_in, step.body)) if isinstance(step, Loop) else 1


def _place(step: Step, line: int, column: int, boxes: list, brackets: list, seen: set) -> tuple[int, int]:
    """Places a step; returns the column after it and the level of its loops."""
    if not isinstance(step, Loop):
        boxes.append(Box(step, line, column, step in seen))
        seen.add(step)
        return column + 1, 0
    first, level = column, 0
    for inner in step.body:
        column, inner_level = _place(inner, line, column, boxes, brackets, seen)
        level = max(level, inner_level)
    brackets.append(Bracket(line, first, column - 1, level + 1, step.times))
    return column, level + 1


@dataclasses.dataclass(frozen=True)
class Row:
    """A labelled sequence of layers in the drawing."""

    label: str
    layout: Layout
    colors: dict[int, int]

    @property
    def height(self) -> float:
        """In inches."""
        lines = self.layout.levels
        return HEADING + sum(BOX + LEVEL * levels for levels in lines) + LINE_GAP * (len(lines) - 1)


def rows(before: Sequence[int], after: Sequence[int]) -> list[Row]:
    """Returns what is drawn of a group.

    Args:
        before: for each layer the first layer with the same weight, ``[L]``.
        after: the same for the folded group, ``[L]``.

    Returns:
        The layers before; after, in the order in which they run, where any were merged; and after,
        written with loops, where there are any.
    """
    folded, unfolded = shared_colors(before, after)
    loops = lay_out(find_loops(after))
    drawn = [
        Row(f"before: {_count(before)}", lay_out(before), unfolded),
        Row(f"after: {_count(after)}", lay_out(after), folded),
    ]
    if tuple(before) == tuple(after):
        drawn = [Row(f"before and after: {_count(before)}", lay_out(before), unfolded)]
    if loops.brackets:
        drawn.append(Row("after, written as loops", loops, folded))
    return drawn


def _count(layers: Sequence[int]) -> str:
    weights = len(set(layers))
    if weights == len(layers):
        return f"{len(layers)} layers, each with a weight of its own"
    return f"{len(layers)} layers, {weights} distinct weight{'s' if weights > 1 else ''}"


def shared_colors(before: Sequence[int], after: Sequence[int]) -> tuple[dict[int, int], dict[int, int]]:
    """Numbers the weights that several layers use.

    Returns:
        ``(after, before)``: layer index of the weight -> number of its colour. A weight that is
        shared before and after has one number; one that a single layer uses has none.
    """
    folded = {layer: number for number, layer in enumerate(_shared(after))}
    others = (layer for layer in _shared(before) if layer not in folded)
    extra = {layer: len(folded) + number for number, layer in enumerate(others)}
    return folded, {layer: (folded | extra)[layer] for layer in _shared(before)}


def _shared(layers: Sequence[int]) -> list[int]:
    return [layer for layer in dict.fromkeys(layers) if list(layers).count(layer) > 1]


def draw_folding(before: Sequence[int], after: Sequence[int], theme: Theme) -> Figure:
    """Draws a group before and after folding.

    A weight that several layers use has a colour: filled where it runs first, an outline
    where it runs again. Other layers are grey. Numbers are those of the weights' first layers.

    Args:
        before: for each layer the first layer with the same weight, ``[L]``.
        after: the same for the folded group, ``[L]``.
        theme: colours.
    """
    drawn = rows(before, after)
    columns = max(row.layout.columns for row in drawn)
    height = sum(row.height for row in drawn) + ROW_GAP * (len(drawn) - 1) + 2 * MARGIN
    # The narrowest is as wide as the labels.
    figure = new_figure(max(columns * PITCH + 2 * MARGIN, 4.6), height, theme)
    canvas = add_canvas(figure)
    top = MARGIN
    for row in drawn:
        canvas.text(MARGIN, top + 0.1, row.label, color=theme.ink, fontsize=10, va="center", ha="left")
        _draw_row(canvas, row, top + HEADING, theme)
        top += row.height + ROW_GAP
    return figure


def _draw_row(canvas: Axes, row: Row, top: float, theme: Theme) -> None:
    tops = list(_line_tops(row.layout.levels, top))
    for bracket in row.layout.brackets:
        _draw_bracket(canvas, bracket, tops[bracket.line], theme)
    for box, following in zip(row.layout.boxes, [*row.layout.boxes[1:], None], strict=True):
        y = tops[box.line] + BOX / 2
        if following is not None and following.line == box.line:
            x = _center(box.column)
            canvas.plot([x + BOX / 2, x + PITCH - BOX / 2], [y, y], color=theme.muted, linewidth=1, zorder=1)
        _draw_box(canvas, box, y, row.colors.get(box.layer), theme)


def _line_tops(levels: Sequence[int], top: float) -> Iterator[float]:
    """Yields the upper edge of the boxes of each line, which lies below the line's loops."""
    for level in levels:
        yield top + LEVEL * level
        top += LEVEL * level + BOX + LINE_GAP


def _center(column: int) -> float:
    return MARGIN + BOX / 2 + 0.02 + column * PITCH


def _draw_box(canvas: Axes, box: Box, y: float, color: int | None, theme: Theme) -> None:
    x = _center(box.column)
    face = theme.empty if color is None else theme.shared[color % len(theme.shared)]
    hollow = box.again and color is not None
    canvas.add_patch(
        FancyBboxPatch(
            (x - BOX / 2 + 0.02, y - BOX / 2 + 0.02),
            BOX - 0.04,
            BOX - 0.04,
            boxstyle="round,pad=0.02,rounding_size=0.06",
            facecolor=theme.surface if hollow else face,
            edgecolor=face if color is not None else theme.line,
            linewidth=1.6 if hollow else 0.9,
            zorder=2,
        )
    )
    ink = theme.ink if hollow or color is None else text_on(to_rgb(face))
    size = 9.5 if box.layer < 99 else 7.5
    canvas.text(
        x, y, str(box.layer + 1), color=ink, fontsize=size, ha="center", va="center_baseline", zorder=3
    )


def _draw_bracket(canvas: Axes, bracket: Bracket, top: float, theme: Theme) -> None:
    """Draws the way back from the last box of a loop over the top to its first box."""
    # Loops around other loops leave and enter the boxes farther out.
    aside = min(0.06 + 0.05 * bracket.level, BOX / 2 - 0.02)
    left, right = _center(bracket.first) - aside, _center(bracket.last) + aside
    # A loop of one layer is too narrow for a label on its line: the label stands above.
    label = top - LEVEL * bracket.level + 0.13
    y, turn = label + (0.1 if bracket.first == bracket.last else 0), 0.08
    way = [
        (Path.MOVETO, (right, top - 0.01)),
        (Path.LINETO, (right, y + turn)),
        (Path.CURVE3, (right, y)),
        (Path.CURVE3, (right - turn, y)),
        (Path.LINETO, (left + turn, y)),
        (Path.CURVE3, (left, y)),
        (Path.CURVE3, (left, y + turn)),
        (Path.LINETO, (left, top - 0.05)),
    ]
    path = Path([point for _, point in way], [code for code, _ in way])
    canvas.add_patch(PathPatch(path, facecolor="none", edgecolor=theme.muted, linewidth=1.2, zorder=1))
    head = [(left - 0.04, top - 0.08), (left + 0.04, top - 0.08), (left, top - 0.015)]
    canvas.fill([x for x, _ in head], [y for _, y in head], color=theme.muted, linewidth=0, zorder=1)
    canvas.text(
        (left + right) / 2,
        label,
        f"×{bracket.times}",
        color=theme.ink,
        fontsize=9,
        ha="center",
        va="center_baseline",
        zorder=4,
        bbox={"facecolor": theme.surface, "edgecolor": "none", "pad": 1.2},
    )
