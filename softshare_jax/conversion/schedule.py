"""Which weight runs when, as data for other programs."""

from typing import Any

import numpy as np

from softshare_jax import sharing
from softshare_jax.sharing.comparison import compare
from softshare_jax.sharing.weights import Variables


def schedule(plan: sharing.Plan, variables: Variables) -> dict[str, dict[str, Any]]:
    """Returns for each group which of its distinct weights each layer uses, as plain values.

    Two layers have one weight if theirs are parallel, up to rounding, as in ``sharing.distinct_layers``.

    Returns:
        ``{group: {"layers", "weights", "scales", "loops"}}``. ``layers``, ``[L]``, has the number of each
        layer's weight, in order of run: distinct weights count from 0, by first use. ``weights`` has for each
        of them the first layer that uses it. The weight of a layer is that weight times its factor in
        ``scales``, ``[L]``; in a group with coefficients per channel ``[L, C]``. ``loops`` is ``layers`` as
        text, counted from 1, such as ``'1 (2 3)×2'``.

    Raises:
        PlanError: the variables are not those of the plan, or a layer is not finite.
    """
    found = {}
    for group in plan.groups:
        first = sharing.distinct_layers(sharing.Plan((group,)), variables)[group.name]
        kept = list(dict.fromkeys(first))
        layers = [kept.index(layer) for layer in first]
        scale = compare(group, variables, "weights").scale
        found[group.name] = {
            "layers": layers,
            "weights": [str(group.members[layer]) for layer in kept],
            "scales": [_plain(group, scale[layer, source]) for layer, source in enumerate(first)],
            "loops": sharing.format_loops(sharing.find_loops(layers)),
        }
    return found


def _plain(group: sharing.Group, factors: np.ndarray) -> float | list[float]:
    return factors.tolist() if group.per_channel else float(factors[0])
