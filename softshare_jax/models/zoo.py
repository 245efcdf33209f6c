"""Networks by name: a constructor and a sharing rule for each."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from softshare_jax.errors import UserError
from softshare_jax.models.grid_cnn import GridCNN
from softshare_jax.models.wide_resnet import WideResNet
from softshare_jax.sharing import Plan, Rule, by_regex


@dataclasses.dataclass(frozen=True)
class Options:
    """How a named network is built.

    Attributes:
        dtype: of the computation.
        num_classes: of a classifier; other networks do not look at it.
        dropout: rate; networks without dropout take 0 alone.
        scan: run blocks of one structure as a loop, where the network has such blocks.
        axis_name: the mapped axis over which the batch is split; batch-norm and dropout in training
            are about the global batch. ``None`` for a batch in one piece.
    """

    dtype: Any = jnp.float32
    num_classes: int = 10
    dropout: float = 0.0
    scan: bool = False
    axis_name: str | None = None


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


NAMES = (
    "wrn-DEPTH-WIDTH, such as wrn-28-10",
    "swrn-DEPTH-WIDTH, such as swrn-28-10: one template per layer",
    "swrn-DEPTH-WIDTH-TEMPLATES, such as swrn-28-10-2",
    "cnn-DEPTH-CHANNELS, such as cnn-20-32",
    "scnn-DEPTH-CHANNELS, such as scnn-20-32: one template per layer",
    "scnn-DEPTH-CHANNELS-TEMPLATES, such as scnn-20-32-4",
)


def named(name: str) -> Network:
    """Returns the network of that name.

    ``wrn-28-10`` is a wide ResNet for 32x32 images, ``swrn-28-10-2`` the same with two templates for
    the six 3x3 convolutions of each stage that follow its first block, ``swrn-28-10`` with one template
    per layer. ``cnn-20-32`` is the paper's network for shortest paths, twenty 3x3 blocks of 32
    channels, ``scnn-20-32-4`` the same with four templates.

    Raises:
        UserError: there is no such network, or it asks for more templates than it has layers.
    """
    match = re.fullmatch(r"(s?)(wrn|cnn)-([1-9]\d*)-([1-9]\d*)(?:-(\d+))?", name)
    if match is None or (match[5] and not match[1]):
        raise UserError(f"there is no network {name!r}; the names are {'; '.join(NAMES)}")
    depth, width = int(match[3]), int(match[4])
    templates = int(match[5]) if match[5] else None
    return _FAMILIES[match[2]](name, bool(match[1]), depth, width, templates)


def soft_shared(name: str, templates: int | None = None) -> str:
    """Returns the name of a network, shared or not, with k templates a group; ``None``: one per layer.

    Raises:
        UserError: there is no such network.
    """
    return f"s{named(name).unshared}" + (f"-{templates}" if templates is not None else "")


def _wide_resnet(name: str, shared: bool, depth: int, width: int, templates: int | None) -> Network:
    if depth % 6 != 4 or depth < 10:
        raise UserError(f"{name}: a wide ResNet has 6n + 4 layers (10, 16, 22, 28, ...), not {depth}")
    _check_templates(name, shared, (depth - 4) // 3 - 2, templates)
    # All 3x3 convolutions of a stage after its first block, which has another shape.
    groups = {f"stage_{i}": rf"stage_{i}/blocks/conv\d/kernel" for i in (1, 2, 3)}
    return Network(
        name=name,
        unshared=f"wrn-{depth}-{width}",
        build=lambda o: WideResNet(depth, width, o.num_classes, o.dropout, o.scan, o.dtype, o.axis_name),
        rule=by_regex(groups, templates, stacked=r"(.*/blocks)/.*") if shared else Plan(),
        input_shape=(32, 32, 3),
        classifies=True,
    )


def _grid_cnn(name: str, shared: bool, depth: int, channels: int, templates: int | None) -> Network:
    def build(options: Options) -> GridCNN:
        if options.dropout:
            raise UserError(f"config.dropout is {options.dropout}, and {name} has no dropout")
        return GridCNN(depth, channels, options.dtype, options.axis_name)

    _check_templates(name, shared, depth, templates)
    return Network(
        name=name,
        unshared=f"cnn-{depth}-{channels}",
        build=build,
        rule=by_regex({"blocks": r"block_\d+/conv/kernel"}, templates) if shared else Plan(),
        input_shape=(32, 32, 2),
        classifies=False,
    )


_FAMILIES = {"wrn": _wide_resnet, "cnn": _grid_cnn}


def _check_templates(name: str, shared: bool, layers: int, templates: int | None) -> None:
    if shared and layers < 2:
        raise UserError(
            f"{name}: groups of fewer than two layers have nothing to share, take a deeper network"
        )
    if templates is not None and not 1 <= templates <= layers:
        raise UserError(f"{name}: {layers} layers share 1 to {layers} templates, not {templates}")
