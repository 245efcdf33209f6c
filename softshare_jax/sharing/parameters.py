"""Counting parameters."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from softshare_jax.sharing.plan import COLLECTIONS


class Parameters(NamedTuple):
    """Numbers of trainable parameters of a network.

    Attributes:
        shared: in templates, coefficients and residuals.
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
    private, *shared = (sizes.get(name, 0) for name in COLLECTIONS)
    return Parameters(sum(shared), private)
