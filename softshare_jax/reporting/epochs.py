"""How the groups of a run came to share, all in one picture, as on the paper's poster."""

from collections.abc import Sequence

import numpy as np

# The poster shows the epochs 5, 25, 50 and 200 of 200; here the start comes first.
FRACTIONS = (0.0, 0.025, 0.125, 0.25, 1.0)


def nearest_steps(steps: Sequence[int], total: int) -> list[int]:
    """Returns the recorded steps nearest to ``FRACTIONS`` of a run of ``total`` steps, each once."""
    recorded = np.array(steps)
    return sorted({int(recorded[np.abs(recorded - f * total).argmin()]) for f in FRACTIONS})


def label(step: int, steps_per_epoch: int) -> str:
    """Returns what to call a step: ``'epoch 5'``, ``'epoch 0.3'``, or ``'step 7'`` where that says more."""
    if step % steps_per_epoch == 0:
        return f"epoch {step // steps_per_epoch}"
    epoch = step / steps_per_epoch
    # To one place this would be another epoch's name.
    return f"epoch {epoch:.1f}" if round(epoch, 1) % 1 else f"step {step:,}"
