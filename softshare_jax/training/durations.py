"""Durations and intervals of a run, in steps."""

import re
from collections.abc import Iterable

from softshare_jax.errors import UserError

# Steps are counted in 32 bits on the device.
MOST_STEPS = 2**31 - 1


def to_steps(duration: str, steps_per_epoch: int, field: str) -> int:
    """Returns a duration such as ``'200 epochs'`` or ``'1000 steps'`` in steps, at least 1.

    Args:
        duration: a positive number and a unit; epochs may have a fraction (``'0.5 epochs'``).
        steps_per_epoch: training steps in an epoch.
        field: name of the config field, for messages.

    Raises:
        UserError: the text is not a duration, or the duration is too long.
    """
    match = re.fullmatch(r"(\d+|\d*\.\d+) (step|epoch)s?", duration.strip())
    if match is None or float(match[1]) == 0 or (match[2] == "step" and "." in match[1]):
        raise UserError(f"{field} is {duration!r}; it must be a duration such as '1000 steps' or '20 epochs'")
    steps = float(match[1]) * (steps_per_epoch if match[2] == "epoch" else 1)
    if steps > MOST_STEPS:
        raise UserError(f"{field} is {duration!r}; it must be at most {MOST_STEPS} steps")
    return max(1, round(steps))


def is_due(step: int, every: int, last: int) -> bool:
    """Returns whether an event with interval ``every`` is due after ``step`` of ``last`` steps.

    It is always due after the last step.
    """
    return step % every == 0 or step == last


def next_due(step: int, everies: Iterable[int], last: int) -> int:
    """Returns the first step after ``step`` at which an event is due."""
    return min([last, *((step // every + 1) * every for every in everies)])
