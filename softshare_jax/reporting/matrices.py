"""Layer similarity matrices as heat maps, and how they came to be."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softshare_jax.reporting.picture import add_axes, new_figure
from softshare_jax.reporting.theme import Theme, text_on

# Up to this many layers the values are written into the cells.
WRITTEN = 12


def draw_matrix(matrix: np.ndarray, measure: str, theme: Theme) -> Figure:
    """Draws one matrix on the fixed scale from 0 to 1.

    Args:
        matrix: layer similarity matrix ``[L, L]``.
        measure: what was compared; the title.
        theme: colours.
    """
    figure = new_figure(5.1, 4.75, theme)
    axes = add_axes(figure, 0.5, 0.45, 3.85, 3.85, theme)
    _show(axes, matrix, theme)
    _number_layers(axes, len(matrix))
    axes.set_xlabel("layer", color=theme.muted, fontsize=9.5, labelpad=3)
    axes.set_ylabel("layer", color=theme.muted, fontsize=9.5, labelpad=3)
    axes.set_title(f"similarity of {measure}", color=theme.ink, fontsize=11, loc="left", pad=8)
    if len(matrix) <= WRITTEN:
        _write_values(axes, matrix, theme)
    _scale(add_axes(figure, 4.5, 0.45, 0.14, 3.85, theme), theme)
    return figure


def spaced_steps(history: Mapping[int, np.ndarray], number: int = 8) -> list[int]:
    """Chooses steps from first to last, closer together where the matrix changes fast.

    Args:
        history: step -> ``[L, L]``, in order.
        number: how many to choose; fewer where fewer are recorded.
    """
    steps, matrices = list(history), list(history.values())
    if len(steps) <= number:
        return steps
    changes = [float(np.abs(b - a).mean()) for a, b in itertools.pairwise(matrices)]
    # Half of the way is time and half is change.
    way = np.linspace(0, 1, len(steps)) + np.cumsum([0.0, *changes]) / max(sum(changes), 1e-6)
    chosen = [0]
    for place, target in enumerate(np.linspace(0, way[-1], number)[1:], start=2):
        nearest = int(np.abs(way - target).argmin())
        # Each step once, and enough of them left for the places that follow.
        chosen.append(min(max(nearest, chosen[-1] + 1), len(steps) - 1 - (number - place)))
    return [steps[index] for index in chosen]


def draw_evolution(
    history: Mapping[str, Mapping[str, np.ndarray]], rows: Sequence[str], theme: Theme
) -> Figure:
    """Draws small multiples over time: a column for each time.

    Args:
        history: name of the time -> row -> ``[L, L]``, the columns to draw in order.
        rows: names of the rows, such as measures or groups.
        theme: colours.
    """
    side, gap, left, bottom = 1.12, 0.1, 0.34, 0.12
    width = left + len(history) * (side + gap) + 0.55
    height = bottom + len(rows) * (side + gap) + 0.3
    figure = new_figure(max(width, 3.2), height, theme)
    for column, (time, matrices) in enumerate(history.items()):
        for row, name in enumerate(rows):
            x, y = left + column * (side + gap), bottom + (len(rows) - 1 - row) * (side + gap)
            axes = add_axes(figure, x, y, side, side, theme)
            axes.set(xticks=[], yticks=[])
            if name in matrices:
                _show(axes, matrices[name], theme)
            if row == 0:
                axes.set_title(time, color=theme.ink, fontsize=9.5, pad=5)
            if column == 0:
                axes.set_ylabel(name, color=theme.muted, fontsize=9.5, labelpad=5, parse_math=False)
    x = left + len(history) * (side + gap) + 0.04
    _scale(add_axes(figure, x, bottom, 0.1, len(rows) * (side + gap) - gap, theme), theme)
    return figure


def _show(axes: Axes, matrix: np.ndarray, theme: Theme) -> None:
    axes.imshow(matrix, cmap=theme.colormap, vmin=0, vmax=1, interpolation="nearest", aspect="equal")


def _scale(axes: Axes, theme: Theme) -> None:
    """Fills axes with the colour scale."""
    axes.imshow(
        np.linspace(0, 1, 256)[:, None],
        cmap=theme.colormap,
        vmin=0,
        vmax=1,
        aspect="auto",
        origin="lower",
        extent=(0, 1, 0, 1),
    )
    axes.set(xticks=[], yticks=[0, 0.25, 0.5, 0.75, 1], yticklabels=["0", "", "0.5", "", "1"])
    axes.yaxis.tick_right()


def _number_layers(axes: Axes, layers: int) -> None:
    """Labels both axes with layer numbers from 1, not more than fit."""
    every = next(every for every in (1, 2, 5, 10, 20, 50, 100, 1000) if layers <= 20 * every)
    numbers = sorted({1, *range(every, layers + 1, every)})
    places = [number - 1 for number in numbers]
    axes.set_xticks(places, [str(number) for number in numbers])
    axes.set_yticks(places, [str(number) for number in numbers])


def _write_values(axes: Axes, matrix: np.ndarray, theme: Theme) -> None:
    colors = theme.colormap(matrix)
    size = min(9.0, 88 / len(matrix))
    for (row, column), value in np.ndenumerate(matrix):
        text = f"{value:.2f}"
        text = {"0.00": "0", "1.00": "1"}.get(text, text.removeprefix("0"))
        axes.text(
            column, row, text, ha="center", va="center", fontsize=size, color=text_on(colors[row, column])
        )
