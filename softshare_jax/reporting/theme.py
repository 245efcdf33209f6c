"""The colors of the page and of its figures."""

import re

from softshare_jax.sharing.colors import LEVELS, rgb, scale

# Name -> color on a light and on a dark page. The hues are those of Okabe and Ito, which people with any
# color vision tell apart.
COLORS = {
    "page": ("#f3f5f8", "#0f141b"),
    "surface": ("#ffffff", "#171d26"),
    "ink": ("#1b2431", "#e4e9f0"),
    "muted": ("#56616f", "#9aa6b5"),
    "line": ("#dfe4ea", "#2c3542"),
    "accent": ("#0067a3", "#6bbcec"),
    "warning": ("#a3470a", "#f0a05c"),
    "empty": ("#edf0f4", "#262f3b"),
    "wall": ("#3d4856", "#6d7a8a"),
    "band": ("#f3f5f8", "#1d2530"),
    "train": ("#8a95a3", "#8a95a3"),
    "now": ("#0072b2", "#4aa8e0"),
    "target": ("#d55e00", "#f0803c"),
    "right": ("#0072b2", "#3f9fd8"),
    "missed": ("#e69f00", "#edb02e"),
    "wrong": ("#c2468f", "#e06fb2"),
}
# Weights that several layers use, in order of appearance; also the groups of a chart.
SHARED = (
    ("#0072b2", "#3f9fd8"),
    ("#e69f00", "#edb02e"),
    ("#009e73", "#22b98e"),
    ("#c2468f", "#e06fb2"),
    ("#56b4e9", "#8fd0f5"),
    ("#a3470a", "#d9783a"),
    ("#6f5bb5", "#a493e6"),
    ("#b5a800", "#d6cb3d"),
)


def text_on(color: str) -> str:
    """Returns black or white, whichever has more contrast on a color."""
    parts = (value / 255 for value in rgb(color))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    luminance = sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "#000000" if luminance > 0.179 else "#ffffff"


def variables(dark: bool = False) -> dict[str, str]:
    """Returns the colors of one theme by the name of their CSS variable.

    ``c0`` and so on are ``SHARED``, ``s0`` to ``s20`` the similarities, and ``on-c0`` the text on ``c0``.
    """
    found = {name: pair[dark] for name, pair in COLORS.items()}
    filled = {f"c{place}": pair[dark] for place, pair in enumerate(SHARED)}
    filled |= {f"s{level}": color for level, color in enumerate(scale(dark))}
    return found | filled | {f"on-{name}": text_on(color) for name, color in filled.items()}


def css() -> str:
    """Returns the variables of both themes, and a class for each level of similarity."""
    light, dark = (
        ";".join(f"--{name}:{color}" for name, color in variables(theme).items()) for theme in (False, True)
    )
    levels = "".join(f".s{n}{{background:var(--s{n});color:var(--on-s{n})}}" for n in range(LEVELS + 1))
    gradient = ",".join(f"var(--s{n})" for n in range(LEVELS + 1))
    return (
        f":root{{{light}}}\n@media(prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
        f"{levels}\n.scale{{background:linear-gradient(to right,{gradient})}}"
    )


def in_light(svg: str) -> str:
    """Returns an SVG image with the colors of the light theme, for a file of its own."""
    light = variables()
    return re.sub(r"var\(--([\w-]+)\)", lambda found: light[found[1]], svg)
