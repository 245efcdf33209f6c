"""Networks by name: a constructor and a sharing rule for each."""

import re

from softshare_jax.errors import UserError
from softshare_jax.models import imagenet
from softshare_jax.models.grid_cnn import GridCNN
from softshare_jax.models.network import Network, Options, check_templates
from softshare_jax.models.wide_resnet import WideResNet
from softshare_jax.sharing import Plan, by_regex

__all__ = ["NAMES", "Network", "Options", "named", "soft_shared"]

NAMES = (
    "wrn-DEPTH-WIDTH, such as wrn-28-10",
    "swrn-DEPTH-WIDTH, such as swrn-28-10: one template per layer",
    "swrn-DEPTH-WIDTH-TEMPLATES, such as swrn-28-10-2",
    "cnn-DEPTH-CHANNELS, such as cnn-20-32",
    "scnn-DEPTH-CHANNELS, such as scnn-20-32: one template per layer",
    "scnn-DEPTH-CHANNELS-TEMPLATES, such as scnn-20-32-4",
    *imagenet.NAMES,
)


def named(name: str) -> Network:
    """Returns the network of that name.

    ``wrn-28-10`` is a wide ResNet for 32x32 images, ``swrn-28-10-2`` the same with two templates for
    the six 3x3 convolutions of each stage that follow its first block, ``swrn-28-10`` with one template
    per layer. ``cnn-20-32`` is the paper's network for shortest paths, twenty 3x3 blocks of 32
    channels, ``scnn-20-32-4`` the same with four templates. What is made for ImageNet, such as
    ``swrn-50-2``, is in ``models/imagenet.py``.

    Raises:
        UserError: there is no such network, or it asks for more templates than it has layers.
    """
    for_imagenet = imagenet.named(name)
    if for_imagenet is not None:
        return for_imagenet
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
        raise UserError(
            f"{name}: a wide ResNet has 6n + 4 layers (10, 16, 22, 28, ...), not {depth}; "
            f"for ImageNet it has {imagenet.DEPTHS}"
        )
    check_templates(name, shared, (depth - 4) // 3 - 2, templates)
    # All 3x3 convolutions of a stage after its first block, which has another shape.
    groups = {f"stage_{i}": rf"stage_{i}/blocks/conv\d/kernel" for i in (1, 2, 3)}

    def build(options: Options) -> WideResNet:
        options.refuse(name, "zero_residual")
        return WideResNet(
            depth,
            width,
            options.num_classes,
            options.dropout,
            options.scan,
            options.dtype,
            options.axis_name,
        )

    return Network(
        name=name,
        unshared=f"wrn-{depth}-{width}",
        build=build,
        rule=by_regex(groups, templates, stacked=r"(.*/blocks)/.*") if shared else Plan(),
        input_shape=(32, 32, 3),
        classifies=True,
    )


def _grid_cnn(name: str, shared: bool, depth: int, channels: int, templates: int | None) -> Network:
    def build(options: Options) -> GridCNN:
        options.refuse(name, "dropout", "zero_residual")
        return GridCNN(depth, channels, options.dtype, options.axis_name)

    check_templates(name, shared, depth, templates)
    return Network(
        name=name,
        unshared=f"cnn-{depth}-{channels}",
        build=build,
        rule=by_regex({"blocks": r"block_\d+/conv/kernel"}, templates) if shared else Plan(),
        input_shape=(32, 32, 2),
        classifies=False,
    )


_FAMILIES = {"wrn": _wide_resnet, "cnn": _grid_cnn}
