"""What weights lose with fewer templates: the error against k."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from softshare_jax.reporting.picture import add_axes, new_figure
from softshare_jax.reporting.theme import Theme

MARKERS = "osD^vP*X"


def draw_errors(groups: Sequence[Mapping[str, Any]], theme: Theme) -> Figure:
    """Draws a curve for each group; what was chosen is filled.

    Args:
        groups: of a conversion: ``name``, ``templates``, and ``relative_error`` with 1 to L templates.
        theme: colours.
    """
    figure = new_figure(5.2, 3.7, theme)
    axes = add_axes(figure, 0.55, 0.55, 4.45, 2.7, theme)
    for place, group in enumerate(groups):
        errors = group["relative_error"]
        color = theme.shared[place % len(theme.shared)]
        marker = MARKERS[place % len(MARKERS)]
        numbers = range(1, len(errors) + 1)
        style: dict[str, Any] = {
            "color": color,
            "marker": marker,
            "markersize": 6,
            "linewidth": 1.6,
            "clip_on": False,
        }
        axes.plot(numbers, errors, markerfacecolor=theme.surface, label=group["name"], **style)
        chosen = group["templates"]
        axes.plot([chosen], [errors[chosen - 1]], **style)
    most = max((len(group["relative_error"]) for group in groups), default=1)
    axes.set(ylim=(0, 1.02), xlim=(0.8, most + 0.2))
    axes.set_xticks(range(1, most + 1, 1 + most // 12))
    axes.set_xlabel("templates k", color=theme.muted, fontsize=9.5, labelpad=3)
    axes.set_title("relative error of the weights", color=theme.ink, fontsize=11, loc="left", pad=8)
    axes.grid(axis="y", color=theme.line, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=9, labelcolor=theme.ink, loc="upper right")
    return figure
