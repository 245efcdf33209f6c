"""Error against parameters: runs, and beside them what was published."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from softshare_jax.reporting import published
from softshare_jax.reporting.picture import Picture, add_axes, draw, new_figure
from softshare_jax.reporting.theme import Theme

TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet2012": "ImageNet"}
# Kind -> its marker and its place among the theme's colours.
KINDS = {"unshared": ("s", 1), "soft-shared": ("o", 0), "folded": ("D", 2)}
# In inches.
WIDTH, HEIGHT, LEFT, BOTTOM, HEAD, NAMES, GAP, LINE = 5.9, 3.7, 0.6, 0.55, 0.35, 2.9, 0.45, 0.19
LEGEND = 0.4
# Of ticks from 1 to 10, from wide to narrow.
SPACINGS: tuple[Sequence[float] | np.ndarray, ...] = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    np.arange(1, 10, 0.2),
    np.arange(1, 10, 0.1),
)


@dataclasses.dataclass(frozen=True)
class Point:
    """Runs that differ in their seed alone.

    Attributes:
        label: beside the point.
        millions: of parameters.
        error: mean, in percent.
        deviation: standard deviation of it; 0 where there is none.
        kind: one of ``KINDS``.
        panel: data set and whether with cutout; each has a panel of its own.
    """

    label: str
    millions: float
    error: float
    deviation: float
    kind: str
    panel: tuple[str, bool]

    @property
    def height(self) -> float:
        """Where the point is: this scale has no zero, and one of 10,000 test images is 0.01%."""
        return max(self.error, 0.01)

    @property
    def below(self) -> float:
        """The length of the error bar below the point; to zero it would have no end on this scale."""
        return min(self.deviation, 0.9 * self.height)


@dataclasses.dataclass(frozen=True)
class _Name:
    """A line in the margin and the point that it names."""

    text: str
    x: float
    y: float
    ours: bool


def draw_comparison(points: Sequence[Point]) -> Picture:
    """Draws a panel for each data set, with cutout and without, one below the other."""
    return draw(
        "comparison.png",
        "Test error against parameters of the runs, and of the networks that were published",
        functools.partial(_draw, points),
    )


def _draw(points: Sequence[Point], theme: Theme) -> Figure:
    panels = list(dict.fromkeys(point.panel for point in points))
    panel_height = BOTTOM + HEIGHT + HEAD
    height = LEGEND + len(panels) * panel_height + (len(panels) - 1) * GAP
    figure = new_figure(LEFT + WIDTH + NAMES, height, theme)
    for place, panel in enumerate(panels):
        bottom = height - (place + 1) * panel_height - place * GAP + BOTTOM
        axes = add_axes(figure, LEFT, bottom, WIDTH, HEIGHT, theme)
        _draw_panel(axes, panel, [point for point in points if point.panel == panel], theme)
    handles: dict[str, Artist] = {}
    for axes in figure.axes:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles=list(handles.values()),
        labels=list(handles),
        loc="lower left",
        bbox_to_anchor=(0.0, 0.02 / height),
        ncols=len(handles),
        frameon=False,
        fontsize=9,
        labelcolor=theme.ink,
        handletextpad=0.3,
        columnspacing=1.6,
        borderaxespad=0,
    )
    return figure


def _draw_panel(axes: Axes, panel: tuple[str, bool], points: Sequence[Point], theme: Theme) -> None:
    data, cutout = panel
    theirs = published.errors(data, cutout)
    # Errors may be far apart, and near to zero or not.
    axes.set(xscale="log", yscale="log")
    names = [_Name(f"{p.label}  {p.error:.2f}", p.millions, p.error, False) for p in theirs]
    if theirs:
        axes.plot(
            [point.millions for point in theirs],
            [point.error for point in theirs],
            linestyle="none",
            marker="o",
            markersize=6,
            markerfacecolor=theme.surface,
            markeredgecolor=theme.muted,
            markeredgewidth=1.2,
            label=published.SOURCE,
        )
    for kind, (marker, color) in KINDS.items():
        ours = [point for point in points if point.kind == kind]
        if ours:
            axes.errorbar(
                [point.millions for point in ours],
                [point.height for point in ours],
                yerr=[[point.below for point in ours], [point.deviation for point in ours]],
                linestyle="none",
                marker=marker,
                markersize=7,
                color=theme.shared[color],
                capsize=3,
                elinewidth=1.3,
                label=f"runs, {kind}",
                zorder=3,
            )
        names += [_Name(f"{p.label}  {p.error:.2f}", p.millions, p.height, True) for p in ours]
    ends = [end for p in points for end in (p.height - p.below, p.height + p.deviation)]
    _scale(axes, [name.x for name in names], [*(point.error for point in theirs), *ends])
    _write_names(axes, names, theme)
    title = f"{TITLES[data]}{', with cutout' if cutout else ''}: test error in %"
    axes.set_title(title, color=theme.ink, fontsize=11, loc="left", pad=8)
    axes.set_xlabel("parameters in millions", color=theme.muted, fontsize=9.5, labelpad=3)
    axes.grid(color=theme.line, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _scale(axes: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """Sets limits with some room, also around a single point, and ticks at plain numbers."""
    powers = 10.0 ** np.arange(-4, 6)
    for axis, values, share, least in ((axes.xaxis, x, 0.08, 2.0), (axes.yaxis, y, 0.12, 1.05)):
        room = (max(values) / min(values)) ** share
        if max(values) / min(values) * room**2 < least**2:
            room = least
        low, high = min(values) / room, max(values) * room
        # The widest spacing that gives a few.
        for steps in SPACINGS:
            ticks = [tick for tick in np.outer(powers, steps).flatten() if low <= tick <= high]
            if len(ticks) >= 3:
                break
        (axes.set_xlim if axis is axes.xaxis else axes.set_ylim)(low, high)
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FixedFormatter([f"{tick:.4g}" for tick in ticks]))
        axis.set_minor_locator(NullLocator())


def _write_names(axes: Axes, names: Sequence[_Name], theme: Theme) -> None:
    """Writes the names into the margin, at the height of their points where there is place."""
    to_axes = axes.transData + axes.transAxes.inverted()
    placed = [(name, *to_axes.transform((name.x, name.y))) for name in names]
    placed.sort(key=lambda one: (one[2], one[1]))
    heights = spread([y for _, _, y in placed], LINE / HEIGHT)
    for (name, x, y), height in zip(placed, heights, strict=True):
        color = theme.ink if name.ours else theme.muted
        line = theme.muted if name.ours else theme.line
        axes.plot(
            [x, 1.0, 1.02], [y, height, height], color=line, linewidth=0.7, zorder=1, clip_on=False,
            transform=axes.transAxes,
        )  # fmt: skip
        axes.text(
            1.03, height, name.text, color=color, fontsize=8.5, va="center", transform=axes.transAxes,
            weight="bold" if name.ours else "normal", parse_math=False,
        )  # fmt: skip


def spread(wanted: Sequence[float], apart: float) -> list[float]:
    """Moves sorted heights so that they are so far apart, and none further from its own than needed.

    Heights that are too close form a block around their mean. They stay between 0 and 1 if they fit there.
    """
    blocks: list[list[float]] = []  # each: sum of the wanted starts, number, start
    for height in wanted:
        blocks.append([height, 1, height])
        while len(blocks) > 1 and blocks[-2][2] + blocks[-2][1] * apart > blocks[-1][2]:
            total, number, _ = blocks.pop()
            below = blocks[-1]
            below[0] += total - number * below[1] * apart
            below[1] += number
            below[2] = below[0] / below[1]
    lowest: list[float] = []
    for _, number, start in blocks:
        start = max(start, lowest[-1] + apart if lowest else 0.0)
        lowest += [start + place * apart for place in range(int(number))]
    most = [1 - place * apart for place in reversed(range(len(lowest)))]
    return [min(pair) for pair in zip(lowest, most, strict=True)]
