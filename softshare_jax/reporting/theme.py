"""Colours and measures that all figures and the page have in common."""

import dataclasses

from matplotlib.colors import LinearSegmentedColormap

# Pixels of a figure for each of its inches; the page shows 100 CSS pixels for an inch.
DPI = 150
CSS_DPI = 100


@dataclasses.dataclass(frozen=True)
class Theme:
    """The colours of a light or a dark page, as ``#rrggbb``.

    Attributes:
        surface: behind figures.
        ink: text.
        muted: text of less weight, such as ticks.
        line: thin lines, such as the frame of a plot.
        empty: a cell or box in which there is nothing to see.
        wall: an obstacle.
        band: shade of every other phase of the curriculum.
        train, now, target: training, and evaluation on the current and on the last phase.
        right, missed, wrong: pixels of a prediction.
        shared: weights that several layers use, in order of appearance.
        similarity: colours of a similarity from 0 to 1.
    """

    surface: str
    ink: str
    muted: str
    line: str
    empty: str
    wall: str
    band: str
    train: str
    now: str
    target: str
    right: str
    missed: str
    wrong: str
    shared: tuple[str, ...]
    similarity: tuple[str, ...]

    @property
    def colormap(self) -> LinearSegmentedColormap:
        """The colour of a similarity from 0 to 1."""
        return LinearSegmentedColormap.from_list("similarity", self.similarity)


# The hues are those of Okabe and Ito, which people with any colour vision tell apart; each has
# a darker shade on white and a lighter one on black.
LIGHT = Theme(
    surface="#ffffff",
    ink="#1b2431",
    muted="#5b6675",
    line="#d5dbe3",
    empty="#edf0f4",
    wall="#3d4856",
    band="#f3f5f8",
    train="#8a95a3",
    now="#0072b2",
    target="#d55e00",
    right="#0072b2",
    missed="#e69f00",
    wrong="#c2468f",
    shared=("#0072b2", "#e69f00", "#009e73", "#c2468f", "#56b4e9", "#a3470a", "#6f5bb5", "#b5a800"),
    similarity=("#f6f4ec", "#cfe3d6", "#86bfc0", "#3f8fae", "#1f5c92", "#14275c"),
)
DARK = Theme(
    surface="#171d26",
    ink="#e4e9f0",
    muted="#9aa6b5",
    line="#364150",
    empty="#262f3b",
    wall="#6d7a8a",
    band="#1d2530",
    train="#8a95a3",
    now="#4aa8e0",
    target="#f0803c",
    right="#3f9fd8",
    missed="#edb02e",
    wrong="#e06fb2",
    shared=("#3f9fd8", "#edb02e", "#22b98e", "#e06fb2", "#8fd0f5", "#d9783a", "#a493e6", "#d6cb3d"),
    similarity=("#222b3a", "#22456b", "#24708f", "#3f9fa0", "#93cdb0", "#f3f1d2"),
)


def text_on(color: tuple[float, ...]) -> str:
    """Returns black or white, whichever reads better on a colour ``(r, g, b, ...)`` from 0 to 1."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3])
    return "#10161f" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.22 else "#ffffff"
