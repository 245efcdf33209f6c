"""How far apart float32 rounding may carry two computations that differ in nothing but the order of sums."""

import numpy as np

# Roundings a layer: a sum of n terms in two orders differs by about sqrt(n) of them, and the sums of the
# networks in the tests have up to a few hundred terms.
PER_LAYER = 20


def bound(depth: int, scale: float = 1.0, steps: int = 0) -> np.ndarray:
    """Returns the largest difference that rounding explains after 0 to ``steps`` steps, ``[steps + 1]``.

    Each layer rounds, and so does each step of training, whose error the next one takes over. That holds
    where training does not amplify what it takes over, as at a low learning rate.

    Args:
        depth: layers that the computation passes through.
        scale: size of the numbers that are compared.
        steps: of training before.
    """
    return PER_LAYER * depth * np.finfo(np.float32).eps * scale * np.arange(1, steps + 2)
