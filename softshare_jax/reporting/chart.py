"""Charts as SVG, in the colors of whatever page they stand on."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from softshare_jax.reporting import theme

# Of ticks within a power of ten, from wide to narrow.
SPACINGS: Sequence[Sequence[float]] = [(1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)]
SPACINGS = [*SPACINGS, *([1 + place / n for place in range(9 * n)] for n in (5, 10))]
# Width of a character, and height of a line of the legend, in units of the image.
CHARACTER, LEGEND_LINE = 6.6, 17
# Of a curve; with more it would be a large file that looks the same.
MOST_POINTS = 500


class Figure(NamedTuple):
    """A file in the folder ``figures``; a chart is on the page as well."""

    file: str
    content: bytes
    svg: Markup = Markup("")


@dataclasses.dataclass(frozen=True)
class Scale:
    """An axis from ``low`` to ``high``, linear or logarithmic."""

    low: float
    high: float
    log: bool = False
    whole: bool = False  # whether a linear axis has labels at whole numbers only

    def place(self, value: float) -> float:
        """Returns where a value lies on the axis, from 0 to 1."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (value - low) / ((high - low) or 1)

    def ticks(self) -> list[float]:
        """Returns plain numbers to label: where possible three or more and at most seven or so."""
        if not self.log:
            distances = (digit * 10.0**power for power in itertools.count(-12) for digit in (1, 2, 5))
            step = next(distance for distance in distances if (self.high - self.low) / distance < 6.5)
            step = max(step, 1) if self.whole else step
            first = math.ceil(self.low / step - 1e-9)
            return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for spacing in SPACINGS:
            ticks = [step * 10.0**p for p in powers for step in spacing]
            ticks = [tick for tick in ticks if self.low * 0.999 <= tick <= self.high * 1.001]
            if len(ticks) >= 3:
                break
        return ticks[:: -(-len(ticks) // 8)]


FRACTIONS = Scale(0, 1)


def around(values: Sequence[float], room: float, least: float = 1.0) -> Scale:
    """Returns a logarithmic axis around values above 0, with the part ``room`` of it free at each end.

    If the values are all alike, the ends are at least the factor ``least`` away.
    """
    low, high = math.log(min(values)), math.log(max(values))
    apart = math.log(least)
    free = max((high - low) * room, apart if high - low < apart else 0.0)
    # exp(709) is the largest number.
    return Scale(math.exp(max(low - free, -700)), math.exp(min(high + free, 700)), log=True)


def linear(values: Sequence[float]) -> Scale:
    """Returns a linear axis that has 0 on it; for fractions it ends at 1."""
    low, high = min(values), max(values)
    if low >= 0 and 0.1 <= high <= 1:
        return FRACTIONS
    return Scale(min(low, 0), high if high > min(low, 0) else min(low, 0) + 1)


class Line(NamedTuple):
    """A curve with its label in the legend."""

    label: str
    color: str  # name of a CSS variable
    points: Sequence[tuple[float, float]]  # (x, y), by x
    mark: float | None = None  # x of a point to mark


class Band(NamedTuple):
    """A part of the x axis with a name; every other one is shaded."""

    name: str
    start: float
    stop: float


@dataclasses.dataclass(frozen=True)
class Plot:
    """A rectangle with two axes, in units of the SVG image."""

    x: Scale
    y: Scale
    width: float = 350
    height: float = 190
    left: float = 42
    top: float = 62

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Returns the place of a point."""
        across, up = self.left + self.width * self.x.place(x), self.top + self.height * (1 - self.y.place(y))
        return round(across, 1), round(up, 1)

    def frame(self, x_label: str) -> str:
        """Returns the axes and their labels."""
        parts = []
        bottom = self.top + self.height
        for tick in self.y.ticks():
            _, y = self.at(self.x.low, tick)
            parts.append(path(f"M{self.left} {y}h{self.width}", "line", 1))
            parts.append(text(self.left - 6, y + 4, f"{tick:.4g}", "end"))
        for tick in self.x.ticks():
            x, _ = self.at(tick, self.y.low)
            parts.append(path(f"M{x} {bottom}v4", "line", 1))
            parts.append(text(x, bottom + 17, _number(tick), "middle"))
        parts.append(text(self.left + self.width / 2, bottom + 35, x_label, "middle"))
        return "".join(parts)

    def svg(self, file: str, alt: str, parts: Sequence[str], margin: float = 14) -> Figure:
        """Returns the image; ``margin`` is the least space at the right."""
        if ticks := self.x.ticks():
            # The label of a tick at the edge stands half beyond it.
            last = self.at(ticks[-1], self.y.low)[0] + CHARACTER * len(_number(ticks[-1])) / 2
            margin = max(margin, last - self.left - self.width + 4)
        width, height = self.left + self.width + margin, self.top + self.height + 40
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
            f'aria-label="{escape(alt)}" font-family="system-ui, sans-serif">{"".join(parts)}</svg>'
        )
        # The file needs no page around it.
        return Figure(file, theme.in_light(svg).encode(), Markup(svg))


def _number(tick: float) -> str:
    """Returns the label of a tick on the x axis."""
    return f"{tick:,.4g}" if tick < 1e4 else f"{tick:,.0f}"


def text(
    x: float, y: float, words: str, anchor: str = "start", size: float = 12, color: str = "muted"
) -> str:
    """Returns words at a place."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="var(--{color})" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )


def path(way: str, color: str, width: float) -> str:
    """Returns a line along a path of SVG."""
    return f'<path d="{way}" fill="none" stroke="var(--{color})" stroke-width="{width}"/>'


def dot(
    place: tuple[float, float], color: str, title: str, shape: str = "circle", hollow: bool = False
) -> str:
    """Returns a mark whose title is shown on hover; ``shape`` is a circle, a square or a diamond."""
    (x, y), half = place, 4.5
    fill = "var(--surface)" if hollow else f"var(--{color})"
    style = f'fill="{fill}" stroke="var(--{color})" stroke-width="1.4"><title>{escape(title)}</title>'
    if shape == "circle":
        return f'<circle cx="{x}" cy="{y}" r="{half}" {style}</circle>'
    turn = f' transform="rotate(45 {x} {y})"' if shape == "diamond" else ""
    return f'<rect x="{x - half}" y="{y - half}" width="9" height="9"{turn} {style}</rect>'


def legend(entries: Sequence[tuple[str, str]], y: float, width: float = math.inf) -> tuple[str, float]:
    """Returns colors and what they stand for, in lines of a width, and the height of all lines but the first.

    Args:
        entries: ``(label, color)``.
        y: of the first line.
        width: of the image.
    """
    lines: list[list[tuple[str, str]]] = [[]]
    for entry in entries:
        # The dot and the space after an entry are four characters wide.
        taken = sum(CHARACTER * (len(label) + 4) for label, _ in [*lines[-1], entry])
        if lines[-1] and taken > width:
            lines.append([])
        lines[-1].append(entry)
    parts = []
    for place, line in enumerate(lines):
        words = "".join(
            f'<tspan fill="var(--{color})" font-weight="bold">● </tspan>{escape(label)}\u2003'
            for label, color in line
        )
        parts.append(
            f'<text x="0" y="{y + LEGEND_LINE * place:g}" font-size="12" fill="var(--ink)">{words}</text>'
        )
    return "".join(parts), LEGEND_LINE * (len(lines) - 1)


def curves(
    file: str,
    title: str,
    x_label: str,
    lines: Sequence[Line],
    log: bool = False,
    bands: Sequence[Band] = (),
    y: Scale = FRACTIONS,
) -> Figure:
    """Draws curves; each value is shown on hover.

    Args:
        file: name of the image.
        title: what y is.
        x_label: what x is.
        lines: with a point or more in each.
        log: whether y is logarithmic, around the values.
        bands: drawn behind the curves.
        y: the axis if it is not logarithmic.
    """
    places = [x for line in lines for x, _ in line.points]
    values = [y for line in lines for _, y in line.points]
    start = min(places) if min(places) == 1 else 0
    if log:
        # Zero has no place on a logarithmic axis.
        least = min((value for value in values if value > 0), default=1.0)
        y = around([max(value, least) for value in values], 0.04, 1.5)
    across = Scale(start, max(max(places), start + 1), whole=True)
    # Digits are about 7 units wide.
    plot = Plot(across, y, left=max(42, 10 + 7 * max(len(f"{tick:.4g}") for tick in y.ticks())))
    words, more = legend([(line.label, line.color) for line in lines], 36, plot.left + plot.width)
    plot = dataclasses.replace(plot, top=plot.top + more)
    parts = []
    for number, band in enumerate(bands):
        left, right = (plot.at(edge, y.high)[0] for edge in (band.start, band.stop))
        if number % 2 == 0:
            middle = f"M{left} {plot.top + plot.height / 2}H{right}"
            parts.append(path(middle, "band", plot.height))
        # A name that is wider than its band is shortened to its number.
        name = band.name if 5.6 * len(band.name) < right - left else str(number + 1)
        parts.append(text((left + right) / 2, plot.top - 6, name, "middle", 10))
    parts += [text(0, 14, title, size=14, color="ink"), plot.frame(x_label)]
    parts.append(words)
    for line in lines:
        thinned = [*line.points[: -1 : -(-len(line.points) // MOST_POINTS)], line.points[-1]]
        spots = [plot.at(x, max(v, y.low)) for x, v in thinned]
        parts.append(path("M" + "L".join(f"{a} {b}" for a, b in spots), line.color, 1.8))
        for (a, b), (x, v) in zip(spots, thinned, strict=True):
            said = f"{line.label}, {x_label} {x:,.10g}: {v:.4g}"
            if x == line.mark or len(spots) == 1:
                parts.append(dot((a, b), line.color, said))
            else:
                hidden = f'<circle cx="{a}" cy="{b}" r="5" opacity="0"><title>{escape(said)}</title></circle>'
                parts.append(hidden)
    return plot.svg(file, f"{title} over {x_label}s: " + ", ".join(line.label for line in lines), parts)
