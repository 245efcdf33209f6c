"""How much float32 rounding may separate two computations that differ only in the order of sums."""

import numpy as np

# Rounding errors per layer: a sum of n terms in two orders differs by about sqrt(n) of them. Sums in the
# tested networks have up to a few hundred terms.
PER_LAYER = 20


def bound(depth: int, scale: float = 1.0, steps: int = 0) -> np.ndarray:
    """Returns the largest difference that rounding explains after 0 to ``steps`` steps, ``[steps + 1]``.

    Errors of layers and of training steps add up. This assumes that training does not amplify earlier errors,
    as at a low learning rate.

    Args:
        depth: number of layers in the computation.
        scale: magnitude of the compared values.
        steps: number of training steps.
    """
    return PER_LAYER * depth * np.finfo(np.float32).eps * scale * np.arange(1, steps + 2)
