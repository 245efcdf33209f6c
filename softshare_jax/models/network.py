"""What a named network is, and what its name says of sharing."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from softshare_jax.errors import UserError
from softshare_jax.models.initializers import uniform_fan_in
from softshare_jax.models.layers import Initializer, Layers
from softshare_jax.sharing import Plan, Rule, by_regex

# What only some networks have, as fields of the options and of the config.
FEATURES = ("dropout_rate", "zero_init_residual", "aux_loss_weight", "drop_path_rate")
# What a network that has an auxiliary classifier sows its logits as, among its intermediates.
AUXILIARY = "auxiliary_logits"


@dataclasses.dataclass(frozen=True)
class Options:
    """How a named network is built.

    Attributes:
        dtype: of the computation.
        num_classes: of a classifier; other networks do not look at it.
        dropout_rate: rate; networks without dropout take 0 alone.
        scan: run blocks of one structure as a loop, where the network has such blocks.
        zero_init_residual: start residual blocks as the identity; for networks whose blocks end in
            batch-norm, whose scale is then zero.
        aux_loss_weight: weight in the loss of a second classifier, which the network then has.
        drop_path_rate: probability with which a path drops out at the end of training; for networks that
            take it with each call.
        axis_name: the mapped axis over which the batch is split; batch-norm and dropout in training
            are about the global batch. ``None`` for a batch in one piece.
    """

    dtype: Any = jnp.float32
    num_classes: int = 10
    dropout_rate: float = 0.0
    scan: bool = False
    zero_init_residual: bool = False
    aux_loss_weight: float = 0.0
    drop_path_rate: float = 0.0
    axis_name: str | None = None

    def layers(self, kernel_init: Initializer, classifier_init: Initializer = uniform_fan_in) -> Layers:
        """Returns the layers of a network that is built so."""
        return Layers(kernel_init, classifier_init, self.dtype, self.axis_name)

    def refuse_all_but(self, name: str, *features: str) -> None:
        """Makes sure that features which a network has not are not asked for.

        Raises:
            UserError: one is.
        """
        for feature in FEATURES:
            if feature not in features and (value := getattr(self, feature)):
                raise UserError(f"config.{feature} is {value}, and {name} has no {feature}")


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


@dataclasses.dataclass(frozen=True)
class Sharing:
    """What a name says of sharing: an ``s`` before that of the network, and then ``-k`` after it.

    Attributes:
        name: as it was given.
        unshared: that of the network alone.
        shared: whether it shares.
        templates: k; ``None`` for one template per layer.
    """

    name: str
    unshared: str
    shared: bool
    templates: int | None

    def network(
        self,
        build: Callable[[Options], nn.Module],
        groups: Mapping[str, tuple[str, int]],
        input_shape: tuple[int, int, int],
        classifies: bool = True,
        stacked: str | None = None,
    ) -> Network:
        """Returns the network that shares so.

        Args:
            build, input_shape, classifies: as ``Network`` has them.
            groups: what can share: name -> expression for the paths of its layers, as ``by_regex`` takes it,
                and number of layers. One of fewer layers than templates has a template per layer.
            stacked: as ``by_regex`` takes it.

        Raises:
            UserError: the groups cannot share so many templates, or there is nothing to share.
        """
        rule = self._rule(groups, stacked)
        return Network(self.name, self.unshared, build, rule, input_shape, classifies)

    def _rule(self, groups: Mapping[str, tuple[str, int]], stacked: str | None) -> Rule:
        most = max((layers for _, layers in groups.values()), default=0)
        if self.shared and most < 2:
            raise UserError(
                f"{self.name}: groups of fewer than two layers have nothing to share, take a deeper network"
            )
        k = self.templates
        if k is not None and not 1 <= k <= most:
            raise UserError(f"{self.name}: {most} layers share 1 to {most} templates, not {k}")
        if not self.shared:
            return Plan()
        at_most = {name: layers if k is None else min(k, layers) for name, (_, layers) in groups.items()}
        return by_regex({name: paths for name, (paths, _) in groups.items()}, at_most, stacked)


def read(name: str, pattern: str) -> tuple[re.Match[str], Sharing] | None:
    """Reads a name.

    Args:
        name: such as ``swrn-28-10-2``.
        pattern: expression for the unshared names of a family, such as ``wrn-28-10``.

    Returns:
        How the network's own name matches, and how it shares; ``None`` for the name of another family.
    """
    if match := re.fullmatch(pattern, name):
        return match, Sharing(name, name, False, None)
    # One template per layer first: the 2 of swrn-28-2 is a width.
    for own, templates in ((name[1:], None), (name[1:].rpartition("-")[0], name.rpartition("-")[2])):
        match = re.fullmatch(pattern, own)
        if name.startswith("s") and match and (templates is None or templates.isdecimal()):
            return match, Sharing(name, own, True, None if templates is None else int(templates))
    return None
