"""Learning curves, with the phases of the curriculum as bands."""

import dataclasses
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softshare_jax.reporting.picture import add_axes, new_figure
from softshare_jax.reporting.theme import Theme


@dataclasses.dataclass(frozen=True)
class Curve:
    """One curve.

    Attributes:
        key: of its value in a record.
        label: in the legend.
        color: name of a colour of the theme.
    """

    key: str
    label: str
    color: str


@dataclasses.dataclass(frozen=True)
class Band:
    """The steps ``start`` to ``stop`` in which a phase was trained."""

    phase: int
    start: int
    stop: int


def phase_bands(records: Sequence[dict]) -> list[Band]:
    """Returns the phases of a run from the records' key ``phase``.

    A record stands at the end of the steps that it sums up, so a phase lasts from the
    last record of the one before to its own last record.
    """
    bands: list[Band] = []
    start = 0
    for record in records:
        phase, step = record.get("phase"), record["step"]
        if isinstance(phase, int):
            if bands and bands[-1].phase == phase:
                bands[-1] = dataclasses.replace(bands[-1], stop=step)
            else:
                bands.append(Band(phase, start, step))
        start = step
    return bands


def points(records: Sequence[dict], key: str) -> tuple[list[int], list[float]]:
    """Returns the steps and finite values of one key."""
    pairs = [(r["step"], r[key]) for r in records if _is_finite(r.get(key))]
    return [step for step, _ in pairs], [value for _, value in pairs]


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def draw_curves(
    records: Sequence[dict],
    curves: Sequence[Curve],
    title: str,
    phase_names: Sequence[str],
    theme: Theme,
    logarithmic: bool = False,
) -> Figure:
    """Draws curves over steps.

    Args:
        records: those of ``metrics.jsonl``, in order.
        curves: what to draw; a curve without values is left out.
        title: of the figure.
        phase_names: by phase; empty for no bands.
        theme: colours.
        logarithmic: the scale of the values; otherwise it reaches from 0 to 1.
    """
    figure = new_figure(5.2, 3.7, theme)
    axes = add_axes(figure, 0.55, 0.75, 4.5, 2.45, theme)
    last = max((record["step"] for record in records), default=1)
    for curve in curves:
        steps, values = points(records, curve.key)
        if steps:
            color = getattr(theme, curve.color)
            marker = "o" if len(steps) == 1 else None
            # A point at the last step is not cut in half.
            axes.plot(
                steps,
                values,
                color=color,
                label=curve.label,
                linewidth=1.8,
                marker=marker,
                clip_on=marker is None,
            )
    if logarithmic:
        axes.set_yscale("log")
        axes.tick_params(which="minor", length=0, labelsize=0)
    else:
        axes.set_ylim(0, 1.02)
    axes.set_xlim(0, last)
    axes.set_xlabel("step", color=theme.muted, fontsize=9.5, labelpad=3)
    axes.set_title(title, color=theme.ink, fontsize=11, loc="left", pad=8 if not phase_names else 22)
    axes.grid(axis="y", color=theme.line, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    if phase_names:
        _draw_bands(axes, phase_bands(records), phase_names, last, theme)
    if axes.get_lines():
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(-0.02, -0.19),
            ncols=len(curves),
            frameon=False,
            fontsize=9,
            labelcolor=theme.ink,
            handlelength=1.4,
            columnspacing=1.4,
            borderaxespad=0,
        )
    return figure


def _draw_bands(axes: Axes, bands: Sequence[Band], names: Sequence[str], last: int, theme: Theme) -> None:
    for place, band in enumerate(bands):
        if place % 2 == 0:
            axes.axvspan(band.start, band.stop, color=theme.band, linewidth=0, zorder=0)
        name = names[band.phase] if band.phase < len(names) else f"phase {band.phase + 1}"
        # A name that is wider than its band is shortened to the number of the phase.
        fits = (band.stop - band.start) / max(last, 1) * 4.5 > 0.075 * len(name)
        axes.text(
            (band.start + band.stop) / 2,
            1.02,
            name if fits else str(band.phase + 1),
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=7.5,
            color=theme.muted,
            parse_math=False,
        )
