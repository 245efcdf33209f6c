"""Families of networks: what a name stands for, and how the network shares."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn

from softshare_jax.errors import UserError
from softshare_jax.models.network import Network, Options
from softshare_jax.sharing import Plan, Rule, Slice, by_regex

# Options that only some networks support.
OPTIONAL = ("dropout_rate", "zero_init_residual", "aux_loss_weight", "drop_path_rate")


class Shareable(NamedTuple):
    """Layers of a network that can share templates.

    Attributes:
        paths: regular expression for the paths of their kernels, as for ``by_regex``.
        layers: number of layers.
        slice: the part of each kernel that shares; ``None`` for all of it.
    """

    paths: str
    layers: int
    slice: Slice | None = None


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network before its name says how it shares.

    Attributes:
        build: options -> network.
        input_shape: shape of one example, ``(H, W, C)``.
        shareable: the layers that can share, by group name.
        stacked: regular expression for stacked leaves, as for ``by_regex``.
        supports: the options in ``OPTIONAL`` that the network supports.
        classifies: whether it predicts one class per image, and not one logit per pixel.
    """

    build: Callable[[Options], nn.Module]
    input_shape: tuple[int, int, int]
    shareable: Mapping[str, Shareable]
    stacked: str | None = None
    supports: tuple[str, ...] = ()
    classifies: bool = True


@dataclasses.dataclass(frozen=True)
class Family:
    """Networks of one architecture, by name.

    Attributes:
        pattern: regular expression for the names without sharing, such as ``wrn-(?P<depth>...)-...``.
        architecture: makes the network of a name from the named groups of the pattern, numbers as ``int``
            and absent groups as ``None``. Raises ``UserError`` for numbers that are not valid.
        examples: some names.
    """

    pattern: str
    architecture: Callable[..., Architecture]
    examples: tuple[str, ...] = ()

    def network(self, name: str) -> Network | None:
        """Returns the network of a name; ``None`` if the name is not of this family.

        Prefix ``s`` enables sharing; a trailing ``-k`` sets k templates (default: one per layer). A group
        with fewer than k layers has one template per layer.

        Raises:
            UserError: the name has numbers that are not valid for this family.
        """
        if (match := re.fullmatch(self.pattern, name)) is not None:
            return self._network(name, name, match, None)
        # One template per layer first: the 2 in swrn-28-2 is a width.
        before, _, last = name[1:].rpartition("-")
        for unshared, templates in ((name[1:], None), (before, last)):
            match = re.fullmatch(self.pattern, unshared)
            if name.startswith("s") and match and (templates is None or templates.isdecimal()):
                return self._network(name, unshared, match, None if templates is None else int(templates))
        return None

    def at_depth(self, name: str, depth: int) -> str | None:
        """Returns the name of the same network with another depth, sharing included.

        ``None`` if the name is not of this family, or if names of the family state no depth.
        """
        network = self.network(name)
        match = network and re.fullmatch(self.pattern, network.unshared)
        if network is None or not match or "depth" not in match.re.groupindex:
            return None
        start, stop = match.span("depth")
        deeper = f"{network.unshared[:start]}{depth}{network.unshared[stop:]}"
        return name.replace(network.unshared, deeper, 1)

    def _network(self, name: str, unshared: str, match: re.Match[str], templates: int | None) -> Network:
        given = {key: int(v) if v and v.isdecimal() else v for key, v in match.groupdict().items()}
        try:
            made = self.architecture(**given)
            rule = Plan() if name == unshared else _rule(made, templates)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error

        def build(options: Options) -> nn.Module:
            for option in OPTIONAL:
                if option not in made.supports and (value := getattr(options, option)):
                    raise UserError(f"config.{option} is {value}, and {name} has no {option}")
            return made.build(options)

        return Network(name, unshared, build, rule, made.input_shape, made.classifies)


def _rule(made: Architecture, templates: int | None) -> Rule:
    """Returns the rule that gives each group k templates, or one per layer.

    Raises:
        UserError: the network has no shareable layers, or k exceeds their number.
    """
    most = max((group.layers for group in made.shareable.values()), default=0)
    if most < 2:
        raise UserError("groups of fewer than two layers cannot share; choose a deeper network")
    if templates is not None and not 1 <= templates <= most:
        raise UserError(f"{most} layers share 1 to {most} templates, not {templates}")
    groups = made.shareable.items()
    return by_regex(
        {name: group.paths for name, group in groups},
        {name: min(templates or group.layers, group.layers) for name, group in groups},
        made.stacked,
        slices={name: group.slice for name, group in groups if group.slice is not None},
    )
