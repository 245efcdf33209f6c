"""Layer similarity matrices: as tables with their values, as small pictures, and as files."""

import base64
import io
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from softshare_jax.reporting import theme
from softshare_jax.reporting.chart import Figure
from softshare_jax.sharing.colors import levels

# Up to this many layers the values are written into the cells, and up to this many a matrix is a table.
WRITTEN, TABLED = 12, 64
# The paper's poster shows the epochs 5, 25, 50 and 200 of 200; here the start comes first.
FRACTIONS = (0.0, 0.025, 0.125, 0.25, 1.0)
Matrices = Mapping[str, np.ndarray]


class Cell(NamedTuple):
    """A similarity in a table."""

    level: int
    value: str
    text: str


class Pixels(NamedTuple):
    """A matrix as a picture of one pixel for each pair of layers, as data URIs."""

    light: str
    dark: str


class Column(NamedTuple):
    """Matrices at one time: its name, and for each row its name and picture."""

    time: str
    rows: list[tuple[str, Pixels]]


def cells(matrix: np.ndarray) -> list[list[Cell]]:
    """Returns a matrix ``[L, L]`` as cells with their color, value and what is written into them."""

    def cell(value: float) -> Cell:
        text = {"0.00": "0", "1.00": "1"}.get(f"{value:.2f}", f"{value:.2f}".removeprefix("0"))
        return Cell(int(levels(value)), f"{value:.3f}", text if len(matrix) <= WRITTEN else "")

    return [[cell(float(value)) for value in row] for row in matrix]


def pixels(matrix: np.ndarray) -> Pixels:
    """Returns a matrix as a small picture in both themes."""
    uris = []
    for dark in (False, True):
        data = _png(_picture(matrix, dark))
        uris.append(f"data:image/png;base64,{base64.b64encode(data).decode()}")
    return Pixels(*uris)


def strip(history: Mapping[str, Matrices], rows: Sequence[str]) -> list[Column]:
    """Returns matrices over time as small pictures: a column for each time, in it the rows there are."""
    return [
        Column(time, [(name, pixels(found[name])) for name in rows if name in found])
        for time, found in history.items()
    ]


def frames(history: Sequence[np.ndarray]) -> str:
    """Returns matrices as base64 of one byte for each similarity, for the slider of the page."""
    values = np.rint(np.clip(np.nan_to_num(np.stack(history)), 0, 1) * 255).astype(np.uint8)
    return base64.b64encode(values.tobytes()).decode()


def spaced_steps(history: Mapping[int, np.ndarray], number: int = 8) -> list[int]:
    """Chooses steps from first to last, closer together where the matrix changes fast.

    Args:
        history: step -> ``[L, L]``, in order.
        number: how many to choose; fewer if fewer are recorded.
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


def poster_steps(steps: Sequence[int], total: int) -> list[int]:
    """Returns the recorded steps nearest to ``FRACTIONS`` of a run of ``total`` steps, each once."""
    recorded = np.array(steps)
    return sorted({int(recorded[np.abs(recorded - f * total).argmin()]) for f in FRACTIONS})


def epoch_label(step: int, steps_per_epoch: int) -> str:
    """Returns the name of a step: ``'epoch 5'``, ``'epoch 0.3'``, or ``'step 7'`` if that says more."""
    if step % steps_per_epoch == 0:
        return f"epoch {step // steps_per_epoch}"
    epoch = step / steps_per_epoch
    # To one place this would be another epoch's name.
    return f"epoch {epoch:.1f}" if round(epoch, 1) % 1 else f"step {step:,}"


def save(file: str, history: Mapping[str, Matrices], rows: Sequence[str], side: int = 168) -> Figure:
    """Draws matrices for a file: a column for each time, a row for each name, and the color scale.

    Args:
        file: its name.
        history: name of the time -> row -> ``[L, L]``, in order.
        rows: names of the rows, such as measures or groups.
        side: of a matrix in pixels.
    """
    font, gap, top = ImageFont.load_default(19), 14, 36
    left = round(max((font.getlength(name) for name in rows), default=0)) + 16
    width, height = left + len(history) * (side + gap) + 58, top + len(rows) * (side + gap)
    image = Image.new("RGB", (width, height), theme.COLORS["surface"][0])
    pen, ink, muted = ImageDraw.Draw(image), theme.COLORS["ink"][0], theme.COLORS["muted"][0]
    for row, name in enumerate(rows):
        y = top + row * (side + gap)
        pen.text((left - 10, y + side / 2), name, muted, font, anchor="rm")
        for column, found in enumerate(history.values()):
            if name in found:
                picture = _picture(found[name]).resize((side, side), Image.Resampling.NEAREST)
                image.paste(picture, (left + column * (side + gap), y))
    for column, time in enumerate(history):
        pen.text((left + column * (side + gap) + side / 2, top / 2), time, ink, font, anchor="mm")
    colors, x, bottom = theme.scale(), left + len(history) * (side + gap), height - gap
    for level, color in enumerate(colors):
        ends = [bottom - (bottom - top) * place / len(colors) for place in (level + 1, level)]
        pen.rectangle((x, ends[0], x + 14, ends[1]), color)
    for y, label in ((top + 9, "1"), (bottom - 9, "0")):
        pen.text((x + 22, y), label, muted, font, anchor="lm")
    return Figure(file, _png(image))


def _picture(matrix: np.ndarray, dark: bool = False) -> Image.Image:
    colors = np.array([theme.rgb(color) for color in theme.scale(dark)], np.uint8)
    return Image.fromarray(colors[levels(matrix)])


def _png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return content.getvalue()
