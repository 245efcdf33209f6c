"""Counting parameters."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from softshare_jax.sharing import tree

# The trained collections of soft-shared variables.
COLLECTIONS = ("params", "templates", "coefficients", "residuals")


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


class GroupParameters(NamedTuple):
    """Numbers of parameters of a group.

    Attributes:
        templates, coefficients, residuals: those that it has.
        dense: those of its layers, each with a weight of its own.
    """

    templates: int
    coefficients: int
    residuals: int
    dense: int

    @property
    def shared(self) -> int:
        """Templates, coefficients and residuals together."""
        return self.templates + self.coefficients + self.residuals


def count(variables: Mapping[str, Any]) -> Parameters:
    """Counts the parameters of soft-shared variables (arrays or their shapes)."""
    private, *shared = (total(variables.get(name, {})) for name in COLLECTIONS)
    return Parameters(sum(shared), private)


def total(params: tree.PyTree) -> int:
    """Returns the number of elements of all arrays of a tree."""
    return sum(math.prod(leaf.shape) for leaf in tree.leaves(params).values())
