"""Counting parameters."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax


class Parameters(NamedTuple):
    """Numbers of trainable parameters of a network.

    Attributes:
        shared: in templates and coefficients.
        private: in all other parameters.
    """

    shared: int
    private: int

    @property
    def total(self) -> int:
        """Shared and private parameters."""
        return self.shared + self.private


def count(variables: Mapping[str, Any]) -> Parameters:
    """Counts the parameters of soft-shared variables (arrays or their shapes)."""
    sizes = {name: sum(math.prod(x.shape) for x in jax.tree.leaves(tree)) for name, tree in variables.items()}
    return Parameters(sizes.get("templates", 0) + sizes.get("coefficients", 0), sizes.get("params", 0))
