"""Counting parameters."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from softshare_jax.sharing import tree


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


class GroupParameters(NamedTuple):
    """Numbers of parameters of a group.

    Attributes:
        templates, coefficients: those that it has.
        dense: those of its layers, each with a weight of its own.
    """

    templates: int
    coefficients: int
    dense: int

    @property
    def shared(self) -> int:
        """Templates and coefficients together."""
        return self.templates + self.coefficients


def count(variables: Mapping[str, Any]) -> Parameters:
    """Counts the parameters of soft-shared variables (arrays or their shapes)."""
    sizes = {name: total(tree) for name, tree in variables.items()}
    return Parameters(sizes.get("templates", 0) + sizes.get("coefficients", 0), sizes.get("params", 0))


def total(params: tree.PyTree) -> int:
    """Returns the number of elements of all arrays of a tree."""
    return sum(math.prod(leaf.shape) for leaf in tree.leaves(params).values())


def of_group(shape: tuple[int, ...], layers: int, templates: int) -> GroupParameters:
    """Counts the parameters of L layers of one weight shape that share k templates."""
    size = math.prod(shape)
    return GroupParameters(templates * size, layers * templates, layers * size)
