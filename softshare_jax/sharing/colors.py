"""The color scale of layer similarity: one for plots, pages and pictures."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# A similarity from 0 to 1, in steps of 1 / LEVELS.
LEVELS = 20
# The stops of the scale on a light and on a dark page.
SIMILARITY = (
    ("#f6f4ec", "#cfe3d6", "#86bfc0", "#3f8fae", "#1f5c92", "#14275c"),
    ("#222b3a", "#22456b", "#24708f", "#3f9fa0", "#93cdb0", "#f3f1d2"),
)


def rgb(color: str) -> tuple[int, int, int]:
    """Returns ``#rrggbb`` as three numbers from 0 to 255."""
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue


def scale(dark: bool = False) -> list[str]:
    """Returns the ``LEVELS + 1`` colors of a similarity."""
    stops = [rgb(color) for color in SIMILARITY[dark]]
    colors = []
    for level in range(LEVELS + 1):
        place, part = divmod(level * (len(stops) - 1), LEVELS)
        ends = zip(stops[place], stops[min(place + 1, len(stops) - 1)], strict=True)
        colors.append("#" + bytes(round(a + (b - a) * part / LEVELS) for a, b in ends).hex())
    return colors


def levels(similarity: ArrayLike) -> np.ndarray[Any, Any]:
    """Returns similarities from 0 to 1 as indices into ``scale()``; NaN counts as 0."""
    values = np.clip(np.nan_to_num(np.asarray(similarity, np.float64)), 0, 1)
    return np.asarray(np.rint(values * LEVELS), int)
