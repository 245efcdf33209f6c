"""The networks for ImageNet by name."""

import re
from collections.abc import Mapping

from softshare_jax.errors import UserError
from softshare_jax.models.bottleneck import BottleneckResNet
from softshare_jax.models.densenet import DenseNet
from softshare_jax.models.initializers import he_normal, he_normal_fan_out
from softshare_jax.models.layers import Layers
from softshare_jax.models.network import Network, Options, check_templates
from softshare_jax.sharing import Plan, Rule, by_regex

INPUT = (224, 224, 3)
# Layers -> blocks of each stage: three convolutions each, the stem and the classifier. Up to 38 layers
# all stages are alike; the others are the published ones.
BOTTLENECKS = {
    14: (1, 1, 1, 1),
    26: (2, 2, 2, 2),
    38: (3, 3, 3, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
DENSENETS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32), 264: (6, 12, 64, 48)}


def _either(depths: Mapping[int, tuple[int, ...]]) -> str:
    *first, last = depths
    return f"{', '.join(map(str, first))} or {last} layers"


DEPTHS = _either(BOTTLENECKS)
# Of a wide ResNet no depth is 6n + 4, as all are that are made for small images.
_PATTERN = re.compile(
    r"(?P<shared>s?)(?:"
    r"(?P<resnet>resnet)-(?P<resnet_depth>\d+)"
    rf"|(?P<wrn>wrn)-(?P<wrn_depth>{'|'.join(map(str, BOTTLENECKS))})-(?P<width>[1-9]\d*)"
    r"|(?P<resnext>resnext)-(?P<resnext_depth>\d+)-(?P<groups>[1-9]\d*)x(?P<channels>[1-9]\d*)d"
    r"|(?P<densenet>densenet)-(?P<densenet_depth>\d+)"
    r")(?:-(?P<templates>\d+))?"
)
NAMES = (
    "resnet-DEPTH, such as resnet-50",
    "wrn-DEPTH-WIDTH for ImageNet, such as wrn-50-2",
    "resnext-DEPTH-GROUPSxCHANNELSd, such as resnext-50-32x4d",
    "densenet-DEPTH, such as densenet-264",
    "each of these with an s before it: swrn-50-2, one template per layer, or swrn-50-2-2",
)


def named(name: str) -> Network | None:
    """Returns the network for ImageNet of that name, ``None`` where it is not the name of one.

    ``resnet-50`` is a bottleneck ResNet, ``wrn-50-2`` the same with twice the channels in its 3x3
    convolutions, ``resnext-50-32x4d`` with 32 groups of 4 channels there. ``swrn-50-2`` shares in each stage,
    but for its first block, the first 1x1 convolutions of the blocks, their 3x3 convolutions, and their
    last 1x1 convolutions, with one template per layer; ``swrn-50-2-2`` with two for each of these groups.
    ``sdensenet-264-8`` shares the 3x3 convolutions of each block. A group of fewer layers than the name has
    templates has one per layer.

    Raises:
        UserError: there is such a network, but not with so many layers or templates.
    """
    match = _PATTERN.fullmatch(name)
    if match is None or (match["templates"] and not match["shared"]):
        return None
    kind = next(kind for kind in ("resnet", "wrn", "resnext", "densenet") if match[kind])
    depth = int(match[f"{kind}_depth"])
    shared = bool(match["shared"])
    templates = int(match["templates"]) if match["templates"] else None
    unshared = name[match.end("shared") : match.start("templates") - 1 if templates is not None else None]
    depths = DENSENETS if kind == "densenet" else BOTTLENECKS
    if depth not in depths:
        raise UserError(f"{name}: a {kind} has {_either(depths)}, not {depth}")
    if kind == "densenet":
        return _densenet(name, unshared, depths[depth], shared, templates)
    inner, groups = 64, 1
    if kind == "wrn":
        inner *= int(match["width"])
    elif kind == "resnext":
        groups = int(match["groups"])
        inner = groups * int(match["channels"])
    return _bottleneck(name, unshared, depths[depth], inner, groups, shared, templates)


def _bottleneck(
    name: str,
    unshared: str,
    blocks: tuple[int, ...],
    inner: int,
    groups: int,
    shared: bool,
    templates: int | None,
) -> Network:
    # The first block of a stage has other shapes, or where it has not, another place in the network.
    layers = {
        f"stage_{i}_conv{j}": (rf"stage_{i}/blocks/conv{j}/kernel", number - 1)
        for i, number in enumerate(blocks, start=1)
        for j in (1, 2, 3)
    }

    def build(options: Options) -> BottleneckResNet:
        options.refuse(name, "dropout")
        return BottleneckResNet(
            blocks,
            inner,
            groups,
            options.num_classes,
            Layers(he_normal_fan_out, options.dtype, options.axis_name),
            options.zero_residual,
            options.scan,
        )

    rule = _rule(name, layers, shared, templates, stacked=r"(.*/blocks)/.*")
    return Network(name, unshared, build, rule, INPUT, classifies=True)


def _densenet(
    name: str, unshared: str, blocks: tuple[int, ...], shared: bool, templates: int | None
) -> Network:
    layers = {
        f"block_{i}": (rf"block_{i}/layer_\d+/conv2/kernel", number)
        for i, number in enumerate(blocks, start=1)
    }

    def build(options: Options) -> DenseNet:
        options.refuse(name, "dropout", "zero_residual")
        return DenseNet(blocks, options.num_classes, Layers(he_normal, options.dtype, options.axis_name))

    return Network(name, unshared, build, _rule(name, layers, shared, templates), INPUT, classifies=True)


def _rule(
    name: str,
    layers: Mapping[str, tuple[str, int]],
    shared: bool,
    templates: int | None,
    stacked: str | None = None,
) -> Rule:
    """Returns the rule of groups given as expression and number of layers."""
    check_templates(name, shared, max(number for _, number in layers.values()), templates)
    if not shared:
        return Plan()
    at_most = {group: min(templates or number, number) for group, (_, number) in layers.items()}
    return by_regex({group: pattern for group, (pattern, _) in layers.items()}, at_most, stacked)
