"""Draws docs/figures/change-of-basis.png: the same network in two bases of templates.

    python -m benchmarks.research.change_of_basis

The numbers match the example in docs/folding.md.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from softshare_jax import sharing
from softshare_jax.reporting import matrices
from softshare_jax.training import randomness

FIGURES = pathlib.Path(__file__).parents[2] / "docs" / "figures"
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
    similarity: dict[str, dict[str, np.ndarray]] = {
        name: {m: np.asarray(sharing.similarity(plan, variables, m)["body"]) for m in sharing.MEASURES}
        for name, variables in bases.items()
    }
    picture = matrices.save("change-of-basis.png", similarity, sharing.MEASURES)
    (FIGURES / picture.file).write_bytes(picture.content)


if __name__ == "__main__":
    main()
