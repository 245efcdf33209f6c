"""Test examples of shortest paths with what the network made of them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from softshare_jax.reporting.picture import add_axes, new_figure
from softshare_jax.reporting.theme import Theme


@dataclasses.dataclass(frozen=True)
class Example:
    """One grid, all arrays ``[H, W]`` bool.

    Attributes:
        points: the two query points.
        obstacles: blocked pixels.
        path: pixels on some shortest path.
        predicted: pixels that the network marks.
    """

    points: np.ndarray
    obstacles: np.ndarray
    path: np.ndarray
    predicted: np.ndarray

    @property
    def missed(self) -> np.ndarray:
        """Pixels of the path that the network does not mark."""
        return self.path & ~self.predicted

    @property
    def wrong(self) -> np.ndarray:
        """Pixels that the network marks and that are not on the path."""
        return self.predicted & ~self.path

    @property
    def errors(self) -> int:
        """How many pixels are missed or wrong."""
        return int(self.missed.sum() + self.wrong.sum())


def from_arrays(images: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> list[Example]:
    """Returns examples from images ``[N, H, W, 2]``, labels and logits ``[N, H, W]``."""
    return [
        Example(image[..., 0] > 0, image[..., 1] > 0, label > 0, logit > 0)
        for image, label, logit in zip(images, labels, logits, strict=True)
    ]


def choose(examples: Sequence[Example], number: int = 4) -> tuple[list[Example], list[Example]]:
    """Chooses the examples with the longest paths and, among the others, those with the most errors.

    Returns:
        ``(long, wrong)``, up to ``number`` of each; no example without errors is in the second.
    """
    by_length = sorted(range(len(examples)), key=lambda i: -int(examples[i].path.sum()))
    by_errors = sorted(by_length[number:], key=lambda i: -examples[i].errors)
    wrong = [examples[i] for i in by_errors[:number] if examples[i].errors]
    return [examples[i] for i in by_length[:number]], wrong


def draw_examples(examples: Sequence[Example], title: str, theme: Theme) -> Figure:
    """Draws up to four examples in two columns, with a legend."""
    side, gap, caption = 2.4, 0.3, 0.26
    lines = (len(examples) + 1) // 2
    legend = 0.36
    height = 0.42 + lines * (side + caption) + (lines - 1) * 0.12 + legend
    figure = new_figure(2 * side + gap, height, theme)
    figure.text(0, 1 - 0.16 / height, title, color=theme.ink, fontsize=11, ha="left", va="center")
    for place, example in enumerate(examples):
        line, column = divmod(place, 2)
        bottom = height - 0.42 - side - line * (side + caption + 0.12)
        _draw_example(figure, example, column * (side + gap), bottom, side, theme)
    _draw_legend(figure, height, theme)
    return figure


def _draw_example(
    figure: Figure, example: Example, left: float, bottom: float, side: float, theme: Theme
) -> None:
    axes = add_axes(figure, left + 0.01, bottom, side - 0.02, side - 0.02, theme)
    height, width = example.path.shape
    cells = np.empty((height, width, 3))
    cells[:] = to_rgb(theme.empty)
    for where, color in [
        (example.obstacles, theme.wall),
        (example.path & example.predicted, theme.right),
        (example.missed, theme.surface),
        (example.wrong, theme.wrong),
    ]:
        cells[where] = to_rgb(color)
    axes.imshow(cells, interpolation="nearest")
    cell = side * 72 / max(height, width)
    for kind, style in _marks(theme).items():
        y, x = np.nonzero(getattr(example, kind))
        sizes = {size: style[size] * cell / 10 for size in ("markersize", "markeredgewidth")}
        axes.plot(x, y, linestyle="none", **{**style, **sizes})
    axes.set(xticks=np.arange(0.5, width - 1), yticks=np.arange(0.5, height - 1))
    axes.set(xticklabels=[], yticklabels=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.grid(color=theme.surface, linewidth=0.5)
    axes.set_axisbelow(False)
    missed, wrong = int(example.missed.sum()), int(example.wrong.sum())
    axes.set_xlabel(
        f"{int(example.path.sum())} pixels, {missed} missed, {wrong} wrong",
        color=theme.muted,
        fontsize=8.5,
        labelpad=3,
    )


def _marks(theme: Theme) -> dict[str, dict[str, Any]]:
    """The marks that tell pixels apart where colours do not, for cells of 10 points."""
    return {
        "missed": {
            "marker": "s",
            "markersize": 7.2,
            "markerfacecolor": "none",
            "markeredgecolor": theme.missed,
            "markeredgewidth": 1.7,
        },
        "wrong": {
            "marker": "x",
            "markersize": 4.2,
            "markeredgecolor": theme.surface,
            "markeredgewidth": 1.3,
        },
        "points": {
            "marker": "o",
            "markersize": 6.4,
            "markerfacecolor": theme.surface,
            "markeredgecolor": theme.ink,
            "markeredgewidth": 1.3,
        },
    }


def _draw_legend(figure: Figure, height: float, theme: Theme) -> None:
    def square(color: str) -> Line2D:
        return Line2D([], [], linestyle="none", marker="s", markersize=9, color=color, markeredgewidth=0)

    marks = {name: Line2D([], [], linestyle="none", **style) for name, style in _marks(theme).items()}
    entries: dict[str, Any] = {
        "right": square(theme.right),
        "missed": marks["missed"],
        "wrong": (square(theme.wrong), marks["wrong"]),
        "obstacle": square(theme.wall),
        "query point": marks["points"],
    }
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="lower left",
        bbox_to_anchor=(-0.01, 0.02 / height),
        ncols=len(entries),
        frameon=False,
        fontsize=9,
        labelcolor=theme.ink,
        handletextpad=0.2,
        columnspacing=1.1,
        borderaxespad=0,
        borderpad=0.2,
    )
