"""The layer similarity matrices of a whole run as an animated GIF."""

import functools
import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import font_manager
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw, ImageFont

from softshare_jax.reporting.picture import Picture, encode_png
from softshare_jax.reporting.theme import DARK, LIGHT, Theme

# A longer history is thinned out: the file stays small, and nobody watches longer.
MOST_FRAMES, FEWEST_FRAMES = 36, 6
FRAME_MILLISECONDS = 140
LAST_FRAME_MILLISECONDS = 2400
# In pixels.
SIDE, GAP, HEAD, FOOT, TEXT = 300, 36, 44, 52, 17
# The page shows it smaller, so that it is crisp.
PIXELS_PER_CSS_PIXEL = 1.25
THEMES = (LIGHT, DARK)


def animate(
    file: str,
    alt: str,
    history: Mapping[int, Mapping[str, np.ndarray]],
    measures: Sequence[str],
    most_bytes: int,
) -> Picture:
    """Animates matrices over steps, the measures side by side on the fixed scale from 0 to 1.

    Args:
        file: name of the picture.
        alt: its description.
        history: step -> measure -> ``[L, L]``, two steps or more, in order.
        measures: the panels.
        most_bytes: above this size a third of the frames is left out, again and again, down to
            ``FEWEST_FRAMES``.
    """
    steps = list(history)
    number = min(MOST_FRAMES, len(steps))
    while True:
        chosen = [steps[index] for index in np.linspace(0, len(steps) - 1, number).round().astype(int)]
        frames = {
            theme: [_frame(history[s], measures, s, steps[-1], theme) for s in chosen] for theme in THEMES
        }
        light, dark = (_encode(frames[theme], theme) for theme in THEMES)
        if len(light) <= most_bytes or number * 2 // 3 < FEWEST_FRAMES:
            break
        number = number * 2 // 3
    still_light, still_dark = (encode_png(frames[theme][-1]) for theme in THEMES)
    width = round(frames[LIGHT][0].width / PIXELS_PER_CSS_PIXEL)
    return Picture(file, alt, light, dark, width, (still_light, still_dark))


def _frame(
    matrices: Mapping[str, np.ndarray], measures: Sequence[str], step: int, last: int, theme: Theme
) -> Image.Image:
    width = len(measures) * (SIDE + GAP) - GAP
    image = Image.new("RGB", (width, HEAD + SIDE + FOOT), theme.surface)
    pen = ImageDraw.Draw(image)
    for panel, measure in enumerate(measures):
        left = panel * (SIDE + GAP)
        pen.text((left, HEAD // 2), measure, theme.ink, _font(TEXT), anchor="lm")
        if measure in matrices:
            image.paste(_cells(matrices[measure], theme), (left, HEAD))
    foot = HEAD + SIDE + FOOT // 2 + 6
    label = f"step {step:,}"
    reserved = round(_font(TEXT).getlength(f"step {last:,}")) + 28
    pen.text((0, foot), label, theme.ink, _font(TEXT), anchor="lm")
    pen.rounded_rectangle((reserved, foot - 4, width - 1, foot + 4), 4, theme.empty)
    done = reserved + (width - 1 - reserved) * step / max(last, 1)
    pen.rounded_rectangle((reserved, foot - 4, max(done, reserved + 8), foot + 4), 4, theme.now)
    return image


def _cells(matrix: np.ndarray, theme: Theme) -> Image.Image:
    colors = (theme.colormap(np.clip(matrix, 0, 1))[..., :3] * 255).round().astype(np.uint8)
    return Image.fromarray(colors).resize((SIDE, SIDE), Image.Resampling.NEAREST)


def _encode(frames: Sequence[Image.Image], theme: Theme) -> bytes:
    """Encodes frames with one palette, so that a similarity keeps its colour throughout."""
    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette(theme))
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [FRAME_MILLISECONDS] * (len(frames) - 1) + [LAST_FRAME_MILLISECONDS]
    buffer = io.BytesIO()
    indexed[0].save(
        buffer, "GIF", save_all=True, append_images=indexed[1:], duration=durations, loop=0, optimize=False
    )
    return buffer.getvalue()


def _palette(theme: Theme) -> list[int]:
    """Returns the colours of the scale, and those between text and its background."""
    scale = theme.colormap(np.linspace(0, 1, 48))[:, :3]
    ink, surface, bar, empty = (
        np.array(to_rgb(c)) for c in (theme.ink, theme.surface, theme.now, theme.empty)
    )
    shades = np.linspace(0, 1, 12)[:, None]
    colors = [
        scale,
        surface + shades * (ink - surface),
        surface + shades[1::4] * (bar - surface),
        [bar, empty],
    ]
    return (np.concatenate(colors) * 255).round().astype(int).flatten().tolist()


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Returns the font of the other figures, which matplotlib brings along."""
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
