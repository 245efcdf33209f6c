"""Draws docs/figures/change-of-basis.png: the same network in two bases of templates.

    python -m benchmarks.change_of_basis

The numbers match the example in docs/folding.md.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from softshare_jax import sharing
from softshare_jax.reporting.matrices import draw_evolution
from softshare_jax.reporting.picture import draw
from softshare_jax.training import randomness

FIGURES = pathlib.Path(__file__).parents[1] / "docs" / "figures"
ALPHA = jnp.array([[1, 0], [0, 1], [1, 0.1], [0.1, 1], [1, 0], [0, 1]])
BASIS = jnp.array([[1.0, 3.0], [0.0, 1.0]])


def main() -> None:
    """Draws both measures before and after the change."""
    members = tuple(sharing.Member(f"layer_{i}") for i in range(len(ALPHA)))
    plan = sharing.Plan((sharing.Group("body", members, 2, (16, 16)),))
    templates = jax.random.normal(randomness.key(0), (2, 16, 16))
    moved = jnp.tensordot(jnp.linalg.inv(BASIS), templates, 1)
    bases = {
        "as trained": {"templates": {"body": templates}, "coefficients": {"body": ALPHA}},
        "another basis": {"templates": {"body": moved}, "coefficients": {"body": ALPHA @ BASIS}},
    }
    matrices: dict[str, dict[str, np.ndarray]] = {
        name: {m: np.asarray(sharing.similarity(plan, variables, m)["body"]) for m in sharing.MEASURES}
        for name, variables in bases.items()
    }
    alt = "Coefficient similarity depends on the basis of the templates; weight similarity does not."
    draw("change-of-basis.png", alt, lambda theme: draw_evolution(matrices, sharing.MEASURES, theme)).save(
        FIGURES
    )


if __name__ == "__main__":
    main()
