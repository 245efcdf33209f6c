"""Layer similarity matrices as an SVG image."""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import numpy as np

from softshare_jax.sharing import colors
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.lsm import Measure, similarity
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.weights import Variables

_Matrix = np.ndarray[Any, Any]
# Sides of a matrix in pixels, and the least of a cell while the matrix is not larger than that.
SMALLEST, LARGEST, CELL = 150, 320, 18
# Around a matrix: numbers at its left, name and numbers above it, and space at its right and below it.
LEFT, TOP, GAP = 26, 44, 22
COLUMNS, LEGEND = 3, 34
# The legend needs this width.
NARROWEST = 350
# Up to this many layers every number is written, otherwise every tenth.
NUMBERED = 20
# In a larger matrix cells of one color are one path, and values are not shown on hover.
HOVERED = 64
# Background, text and muted text, on a light and on a dark page.
PAGE = (("#ffffff", "#1b2431", "#56616f"), ("#171d26", "#e4e9f0", "#9aa6b5"))


@dataclasses.dataclass(frozen=True, repr=False)
class SimilarityPlot:
    """A plot of layer similarity matrices. A notebook shows it.

    Attributes:
        svg: the image. It has its own background, light or dark as the reader's system prefers.
    """

    svg: str

    def _repr_html_(self) -> str:
        # As a part of the page, not as an image: only then values are shown on hover.
        return self.svg

    def __repr__(self) -> str:
        return f"SimilarityPlot({len(self.svg):,} bytes of SVG; save('similarity.svg') writes it)"

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes the image to a file; an earlier file is replaced.

        Raises:
            ValueError: the name does not end with ``.svg``.
            OSError: the file cannot be written.
        """
        path = pathlib.Path(file)
        if path.suffix != ".svg":
            raise ValueError(f"the plot is an SVG image: name a file that ends with .svg, not {path.name!r}")
        path.write_text(self.svg, encoding="utf-8")


def plot_similarity(plan: Plan, variables: Variables, measure: Measure = "weights") -> SimilarityPlot:
    """Draws the layer similarity matrix of every group; values are shown on hover, up to 64 layers.

    Args:
        plan: which layers share.
        variables: ``templates`` and ``coefficients``.
        measure: ``'weights'`` or ``'coefficients'``, as for ``similarity``.

    Raises:
        PlanError: the plan shares nothing, the variables are not those of the plan, or a layer is not
            finite.
        ValueError: the measure is neither of the two.
    """
    found = similarity(plan, variables, measure)
    if not found:
        raise PlanError("the plan shares nothing, so there is no similarity to plot")
    return SimilarityPlot(_draw({name: np.asarray(matrix) for name, matrix in found.items()}, measure))


def _draw(matrices: Mapping[str, _Matrix], measure: Measure) -> str:
    sides = {name: min(max(CELL * len(matrix), SMALLEST), LARGEST) for name, matrix in matrices.items()}
    side = max(sides.values())
    columns = min(COLUMNS, len(matrices))
    width = max(GAP + columns * (LEFT + side + GAP), NARROWEST)
    height = -(-len(matrices) // columns) * (TOP + side + GAP) + LEGEND
    parts = [
        _panel(name, matrix, sides[name], *divmod(place, columns), side)
        for place, (name, matrix) in enumerate(matrices.items())
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="softshare" viewBox="0 0 {width} {height}" '
        f'width="{width}" role="img" aria-label="Layer similarity of {measure}" '
        f'style="max-width:100%;height:auto" font-family="system-ui, sans-serif">{_style()}'
        f'<rect class="page" width="{width}" height="{height}" rx="8"/>{"".join(parts)}'
        f"{_legend(measure, height - LEGEND)}</svg>"
    )


def _panel(name: str, matrix: _Matrix, side: int, row: int, column: int, most: int) -> str:
    x, y = GAP + column * (LEFT + most + GAP) + LEFT, row * (TOP + most + GAP) + TOP
    layers = len(matrix)
    cell = side / layers
    # Characters are about 7 pixels wide.
    fits = (LEFT + most) // 7
    shown = name if len(name) <= fits else name[: fits - 1] + "…"
    parts = [_text(x - LEFT, y - 22, shown, "start", "name", name)]
    # A number needs about 7 pixels for each digit and as much around it.
    needed = 7 * (len(str(layers)) + 1)
    spacings = (digit * 10**power for power in itertools.count(1) for digit in (1, 2, 5))
    every = 1 if layers <= NUMBERED else next(number for number in spacings if number * cell >= needed)
    for layer in range(every, layers + 1, every):
        middle = (layer - 0.5) * cell
        parts.append(_text(x + middle, y - 5, str(layer), "middle", "number"))
        parts.append(_text(x - 5, y + middle + 3.5, str(layer), "end", "number"))
    cells = "".join(_titled(matrix) if layers <= HOVERED else _by_color(matrix))
    # Edges are crisp, because the background would show between two cells that share a pixel.
    return (
        f'<g>{"".join(parts)}<g transform="translate({x} {y}) scale({cell:.6g})" '
        f'shape-rendering="crispEdges">{cells}</g></g>'
    )


def _titled(matrix: _Matrix) -> Iterator[str]:
    for row, line in enumerate(colors.levels(matrix)):
        for column, level in enumerate(line):
            yield (
                f'<rect class="s{level}" x="{column}" y="{row}" width="1" height="1"><title>layers {row + 1} '
                f"and {column + 1}: {matrix[row, column]:.3f}</title></rect>"
            )


def _by_color(matrix: _Matrix) -> Iterator[str]:
    found = colors.levels(matrix)
    for level in np.unique(found):
        cells = "".join(f"M{column} {row}h1v1h-1z" for row, column in np.argwhere(found == level))
        yield f'<path class="s{level}" d="{cells}"/>'


def _legend(measure: Measure, y: float) -> str:
    steps = "".join(
        f'<rect class="s{level}" x="{GAP + 14 + 6 * level}" y="{y}" width="6" height="12"/>'
        for level in range(colors.LEVELS + 1)
    )
    end = GAP + 14 + 6 * (colors.LEVELS + 1)
    words = _text(end + 22, y + 10, f"similarity of {measure}", "start", "number")
    return (
        _text(GAP, y + 10, "0", "start", "number")
        + f'<g shape-rendering="crispEdges">{steps}</g>'
        + _text(end + 6, y + 10, "1", "start", "number")
        + words
    )


def _text(x: float, y: float, words: str, anchor: str, kind: str, title: str = "") -> str:
    hint = f"<title>{escape(title)}</title>" if title else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{hint}{escape(words)}</text>'


def _style() -> str:
    rules = []
    for dark in (False, True):
        fills = dict(zip(("page", "name", "number"), PAGE[dark], strict=True))
        fills |= {f"s{level}": color for level, color in enumerate(colors.scale(dark))}
        # The class of the image keeps these rules from the rest of a page.
        rules.append("".join(f".softshare .{name}{{fill:{color}}}" for name, color in fills.items()))
    sizes = ".softshare .name{font-size:13px;font-weight:600}.softshare .number{font-size:10px}"
    light, dark_rules = rules
    return f"<style>{light}{sizes}@media(prefers-color-scheme:dark){{{dark_rules}}}</style>"
