"""Pictures: drawn for a light and a dark page, embedded in it and saved beside it."""

import base64
import dataclasses
import io
import pathlib
import warnings
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from softshare_jax import durable
from softshare_jax.reporting.theme import CSS_DPI, DARK, DPI, LIGHT, Theme

MIME_TYPES = {".png": "image/png", ".gif": "image/gif"}


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of the report in both themes.

    Attributes:
        file: name of the file in the ``figures`` folder, ``.png`` or ``.gif``.
        alt: what it shows, for those who cannot see it.
        light: the encoded image.
        dark: the same for a dark page.
        width: in CSS pixels, at its natural size.
        still: for an animation, light and dark images for those who want no motion.
    """

    file: str
    alt: str
    light: bytes
    dark: bytes
    width: int
    still: tuple[bytes, bytes] | None = None

    @property
    def light_uri(self) -> str:
        """The light image as a data URI."""
        return data_uri(self.light, self.file)

    @property
    def dark_uri(self) -> str:
        """The dark image as a data URI."""
        return data_uri(self.dark, self.file)

    @property
    def still_uris(self) -> tuple[str, str] | None:
        """The light and dark images without motion as data URIs."""
        if self.still is None:
            return None
        return data_uri(self.still[0], ".png"), data_uri(self.still[1], ".png")

    def save(self, folder: pathlib.Path) -> None:
        """Writes the light image into a folder, whole or not at all."""
        durable.write(folder / self.file, self.light)


def data_uri(data: bytes, file: str) -> str:
    """Returns an image as a ``data:`` URI; the file's name says what kind of image it is."""
    return (
        f"data:{MIME_TYPES[pathlib.PurePath(file).suffix or file]};base64,{base64.b64encode(data).decode()}"
    )


def draw(file: str, alt: str, figure: Callable[[Theme], Figure]) -> Picture:
    """Draws a figure in both themes; its width in inches gives the width on the page."""
    drawn = [figure(theme) for theme in (LIGHT, DARK)]
    light, dark = (_encode(one) for one in drawn)
    return Picture(file, alt, light, dark, round(drawn[0].get_figwidth() * CSS_DPI))


def _encode(figure: Figure) -> bytes:
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # Names of classes may be in any script; those that the font lacks are boxes.
        warnings.filterwarnings("ignore", r"(?s)Glyph .* missing from font")
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    return encode_png(image)


def encode_png(image: Image.Image) -> bytes:
    """Encodes an image with a palette: a third of the size, and no one sees the difference."""
    buffer = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def new_figure(width: float, height: float, theme: Theme) -> Figure:
    """Returns an empty figure of a size in inches."""
    return Figure((width, height), dpi=DPI, facecolor=theme.surface)


def add_axes(figure: Figure, left: float, bottom: float, width: float, height: float, theme: Theme) -> Axes:
    """Adds axes at a place and of a size in inches, in the colours of the theme."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((left / across, bottom / up, width / across, height / up))
    axes.set_facecolor(theme.surface)
    axes.tick_params(colors=theme.muted, labelsize=9, length=0, pad=4)
    for spine in axes.spines.values():
        spine.set_color(theme.line)
        spine.set_linewidth(0.8)
    return axes


def add_canvas(figure: Figure) -> Axes:
    """Adds axes over the whole figure whose unit is the inch, with the origin at the top left."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, across), ylim=(up, 0))
    axes.set_axis_off()
    return axes
