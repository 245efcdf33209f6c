"""Error against parameters: runs, and beside them what was published."""

from collections.abc import Sequence
from typing import NamedTuple

from softshare_jax.description import published
from softshare_jax.reporting.chart import Figure, Plot, around, dot, legend, path, text

TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet2012": "ImageNet"}
# Kind -> its mark and color.
KINDS = {"unshared": ("square", "c1"), "soft-shared": ("circle", "c0"), "folded": ("diamond", "c2")}
PUBLISHED = ("circle", "muted")
# Of a panel: its height with title and x axis, and the space for a name in the margin.
WIDTH, HEIGHT, PANEL, LINE, NAMES = 370, 300, 400, 15, 220


class Point(NamedTuple):
    """Runs that differ in their seed alone, or a published network."""

    label: str
    millions: float  # of parameters
    error: float  # mean, in percent
    deviation: float = 0.0  # standard deviation; 0 if there is none
    kind: str = ""  # one of KINDS; empty for a published network
    panel: tuple[str, bool] = ("", False)  # data set, and whether with cutout

    @property
    def height(self) -> float:
        """Where the point is: this scale has no zero, and one of 10,000 test images is 0.01%."""
        return max(self.error, 0.01)

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the error bar; one at zero would have no place on this scale."""
        return self.height - min(self.deviation, 0.9 * self.height), self.height + self.deviation


def draw(points: Sequence[Point]) -> Figure:
    """Draws a panel for each data set, with cutout and without, one below the other."""
    panels = list(dict.fromkeys(point.panel for point in points))
    used = {point.kind for point in points}
    kinds = [(f"runs, {kind}", color) for kind, (_, color) in KINDS.items() if kind in used]
    parts = [legend([*kinds, (published.SOURCE, PUBLISHED[1])], 14)[0]]
    for place, panel in enumerate(panels):
        theirs = [Point(*one) for one in published.errors(*panel)]
        shown = [*theirs, *(point for point in points if point.panel == panel)]
        x = around([point.millions for point in shown], 0.08, 2.0)
        y = around([end for point in shown for end in point.ends], 0.1, 1.05)
        plot = Plot(x, y, WIDTH, HEIGHT, top=68 + place * PANEL)
        parts += _panel(plot, panel, shown)
    return plot.svg(
        "comparison.svg",
        "Test error against parameters of the runs, and of the networks that were published",
        parts,
        NAMES,
    )


def _panel(plot: Plot, panel: tuple[str, bool], points: Sequence[Point]) -> list[str]:
    data, cutout = panel
    title = f"{TITLES[data]}{', with cutout' if cutout else ''}: test error in %"
    parts = [text(0, plot.top - 20, title, size=14, color="ink"), plot.frame("parameters in millions")]
    placed = sorted(points, key=lambda point: plot.at(point.millions, point.height)[::-1])
    wanted = [plot.at(point.millions, point.height)[1] for point in placed]
    heights = spread(wanted, LINE, plot.top, plot.top + HEIGHT)
    right = plot.left + plot.width
    for point, y in zip(placed, heights, strict=True):
        place = plot.at(point.millions, point.height)
        name = f"{point.label}  {point.error:.2f}"
        parts.append(
            path(f"M{place[0]} {place[1]}L{right} {y:.1f}h8", "muted" if point.kind else "line", 0.8)
        )
        parts.append(text(right + 12, y + 4, name, color="ink" if point.kind else "muted"))
        mark, color = KINDS.get(point.kind, PUBLISHED)
        low, high = (plot.at(point.millions, end)[1] for end in point.ends)
        if point.deviation:
            bar = f"M{place[0]} {low}V{high}m-3 0h6M{place[0] - 3} {low}h6"
            parts.append(path(bar, color, 1.3))
        said = f"{name}%, {point.millions:.4g} million parameters"
        parts.append(dot(place, color, said, mark, hollow=not point.kind))
    return parts


def spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Moves sorted places so that they are ``apart`` from each other, none farther than needed.

    Places that are too close form a block around their mean. All stay from ``low`` to ``high`` if they fit.
    """
    blocks: list[list[float]] = []  # each: sum of the wanted starts, number, start
    for place in wanted:
        blocks.append([place, 1, place])
        while len(blocks) > 1 and blocks[-2][2] + blocks[-2][1] * apart > blocks[-1][2]:
            total, number, _ = blocks.pop()
            below = blocks[-1]
            below[0] += total - number * below[1] * apart
            below[1] += number
            below[2] = below[0] / below[1]
    found = [start + place * apart for _, number, start in blocks for place in range(int(number))]
    for place in range(len(found)):
        found[place] = max(found[place], low + place * apart)
    return [min(place, high - (len(found) - 1 - rank) * apart) for rank, place in enumerate(found)]
