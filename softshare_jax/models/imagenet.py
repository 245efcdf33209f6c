"""The networks for ImageNet by name."""

import re
from collections.abc import Mapping

from softshare_jax.errors import UserError
from softshare_jax.models import bottleneck, densenet
from softshare_jax.models.network import Network, Sharing

INPUT = (224, 224, 3)
# Channels that a layer of a DenseNet adds.
GROWTH = 32
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
DENSE_DEPTHS = _either(DENSENETS)
# Of other depths these networks are made for small images, but for plain ResNets.
_BOTTLENECK = "|".join(map(str, BOTTLENECKS))
PATTERN = (
    r"(?P<resnet>resnet)-(?P<resnet_depth>\d+)"
    rf"|(?P<wrn>wrn)-(?P<wrn_depth>{_BOTTLENECK})-(?P<width>[1-9]\d*)"
    rf"|(?P<resnext>resnext)-(?P<resnext_depth>{_BOTTLENECK})-(?P<groups>[1-9]\d*)x(?P<channels>[1-9]\d*)d"
    rf"|(?P<densenet>densenet)-(?P<densenet_depth>{'|'.join(map(str, DENSENETS))})"
)
EXAMPLES = ("resnet-50", "resnet-101", "wrn-50-2", "resnext-50-32x4d", "densenet-121", "densenet-264")


def from_name(match: re.Match[str], sharing: Sharing) -> Network:
    """Returns the network for ImageNet that a name asks for.

    ``resnet-50`` is a bottleneck ResNet, ``wrn-50-2`` the same with twice the channels in its 3x3
    convolutions, ``resnext-50-32x4d`` with 32 groups of 4 channels there. ``swrn-50-2`` shares in each stage,
    but for its first block, the first 1x1 convolutions of the blocks, their 3x3 convolutions, and their
    last 1x1 convolutions, with one template per layer; ``swrn-50-2-2`` with two for each of these groups.
    ``sdensenet-264-8`` shares the 3x3 convolutions of each block. A group of fewer layers than the name has
    templates has one per layer.

    Raises:
        UserError: there is such a network, but not with so many layers or templates.
    """
    kind = next(kind for kind in ("resnet", "wrn", "resnext", "densenet") if match[kind])
    depth = int(match[f"{kind}_depth"])
    if kind == "densenet":
        return densenet.network(sharing, DENSENETS[depth], GROWTH, INPUT)
    if depth not in BOTTLENECKS:
        raise UserError(f"{sharing.name}: a resnet has {DEPTHS}, not {depth}")
    inner, groups = 64, 1
    if kind == "wrn":
        inner *= int(match["width"])
    elif kind == "resnext":
        groups = int(match["groups"])
        inner = groups * int(match["channels"])
    return bottleneck.network(sharing, BOTTLENECKS[depth], inner, groups, INPUT)
