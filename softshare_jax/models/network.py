"""What a named network is."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from softshare_jax.errors import UserError
from softshare_jax.sharing import Rule


@dataclasses.dataclass(frozen=True)
class Options:
    """How a named network is built.

    Attributes:
        dtype: of the computation.
        num_classes: of a classifier; other networks do not look at it.
        dropout: rate; networks without dropout take 0 alone.
        scan: run blocks of one structure as a loop, where the network has such blocks.
        zero_residual: start residual blocks as the identity; for networks whose blocks end in
            batch-norm, whose scale is then zero.
        axis_name: the mapped axis over which the batch is split; batch-norm and dropout in training
            are about the global batch. ``None`` for a batch in one piece.
    """

    dtype: Any = jnp.float32
    num_classes: int = 10
    dropout: float = 0.0
    scan: bool = False
    zero_residual: bool = False
    axis_name: str | None = None

    def refuse(self, name: str, *fields: str) -> None:
        """Makes sure that options which a network has not are not asked for.

        Raises:
            UserError: one is.
        """
        for field in fields:
            if value := getattr(self, field):
                raise UserError(f"config.{field} is {value}, and {name} has no {field}")


@dataclasses.dataclass(frozen=True)
class Network:
    """A named network.

    Attributes:
        name: as ``named`` takes it.
        unshared: the name of the same network without sharing.
        build: options -> the plain network.
        rule: how it shares; the empty plan for an unshared network.
        input_shape: one example, ``(H, W, C)``.
        classifies: whether it answers with a class, not for every pixel.
    """

    name: str
    unshared: str
    build: Callable[[Options], nn.Module]
    rule: Rule
    input_shape: tuple[int, int, int]
    classifies: bool


def check_templates(name: str, shared: bool, layers: int, templates: int | None) -> None:
    """Makes sure that groups of so many layers can share so many templates.

    Args:
        name: of the network.
        shared: whether it shares at all.
        layers: of its largest group.
        templates: ``None`` for one template per layer.

    Raises:
        UserError: they cannot.
    """
    if shared and layers < 2:
        raise UserError(
            f"{name}: groups of fewer than two layers have nothing to share, take a deeper network"
        )
    if templates is not None and not 1 <= templates <= layers:
        raise UserError(f"{name}: {layers} layers share 1 to {layers} templates, not {templates}")
