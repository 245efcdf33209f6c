"""The networks for 32x32 images by name, but for those of searched cells."""

from softshare_jax.errors import UserError
from softshare_jax.models import imagenet
from softshare_jax.models.bottleneck import STACKED, BottleneckResNet, stage_groups
from softshare_jax.models.densenet import DenseNet, block_groups
from softshare_jax.models.initializers import he_normal, he_normal_fan_out
from softshare_jax.models.network import Network, Options, Sharing, read
from softshare_jax.models.wide_resnet import WideResNet

INPUT = (32, 32, 3)
_PATTERN = (
    r"(?P<wrn>wrn)-(?P<wrn_depth>[1-9]\d*)-(?P<width>[1-9]\d*)"
    r"|(?P<resnext>resnext)-(?P<resnext_depth>\d+)-(?P<groups>[1-9]\d*)x(?P<channels>[1-9]\d*)d"
    r"|(?P<densenet>densenet(?P<bc>-bc)?)-(?P<densenet_depth>\d+)(?:-(?P<growth>[1-9]\d*))?"
)
NAMES = (
    "wrn-DEPTH-WIDTH, such as wrn-28-10",
    "swrn-DEPTH-WIDTH, such as swrn-28-10: one template per layer",
    "swrn-DEPTH-WIDTH-TEMPLATES, such as swrn-28-10-2",
    "resnext-DEPTH-GROUPSxCHANNELSd, such as resnext-29-8x64d",
    "densenet-DEPTH-GROWTH and densenet-bc-DEPTH-GROWTH, such as densenet-bc-190-40",
)


def named(name: str) -> Network | None:
    """Returns the network for small images of that name, ``None`` where it is not the name of one.

    ``wrn-28-10`` is a wide ResNet, ``swrn-28-10-2`` the same with two templates for the six 3x3
    convolutions of each stage that follow its first block, ``swrn-28-10`` with one template per layer.
    ``sresnext-29-8x64d-1`` shares as networks for ImageNet do, ``sdensenet-bc-190-40-4`` the 3x3
    convolutions of each block and ``sdensenet-100-24-4``, where no two of these have one shape, the part of
    each that reads what comes into the block.

    Raises:
        UserError: there is such a network, but not with so many layers or templates.
    """
    found = read(name, _PATTERN)
    if found is None:
        return None
    match, sharing = found
    if match["wrn"]:
        return _wide_resnet(sharing, int(match["wrn_depth"]), int(match["width"]))
    if match["resnext"]:
        depth, groups = int(match["resnext_depth"]), int(match["groups"])
        return _resnext(sharing, depth, groups * int(match["channels"]), groups)
    if not match["growth"]:
        raise UserError(
            f"{name}: a densenet has {imagenet.DENSE_DEPTHS} for ImageNet, not {match['densenet_depth']}; "
            "for small images its growth follows, as in densenet-100-24"
        )
    return _densenet(sharing, int(match["densenet_depth"]), int(match["growth"]), bool(match["bc"]))


def _wide_resnet(sharing: Sharing, depth: int, width: int) -> Network:
    if depth % 6 != 4 or depth < 10:
        raise UserError(
            f"{sharing.name}: a wide ResNet has 6n + 4 layers (10, 16, 22, 28, ...), not {depth}; "
            f"for ImageNet it has {imagenet.DEPTHS}"
        )
    # All 3x3 convolutions of a stage after its first block, which has another shape.
    groups = {f"stage_{i}": (rf"stage_{i}/blocks/conv\d/kernel", (depth - 4) // 3 - 2) for i in (1, 2, 3)}

    def build(options: Options) -> WideResNet:
        options.refuse_all_but(sharing.name, "dropout")
        layers = options.layers(he_normal, he_normal)
        return WideResNet(depth, width, options.num_classes, options.dropout, options.scan, layers)

    return Network(
        sharing.name, sharing.unshared, build, sharing.rule(groups, STACKED), INPUT, classifies=True
    )


def _resnext(sharing: Sharing, depth: int, inner: int, groups: int) -> Network:
    if depth % 9 != 2 or depth < 11:
        raise UserError(
            f"{sharing.name}: a resnext has 9n + 2 layers (11, 20, 29, 47, ...), not {depth}; "
            f"for ImageNet it has {imagenet.DEPTHS}"
        )
    blocks = ((depth - 2) // 9,) * 3

    def build(options: Options) -> BottleneckResNet:
        options.refuse_all_but(sharing.name, "zero_residual")
        return BottleneckResNet(
            blocks,
            inner,
            groups,
            options.num_classes,
            options.layers(he_normal_fan_out),
            options.zero_residual,
            options.scan,
            small_images=True,
        )

    rule = sharing.rule(stage_groups(blocks), STACKED)
    return Network(sharing.name, sharing.unshared, build, rule, INPUT, classifies=True)


def _densenet(sharing: Sharing, depth: int, growth: int, bc: bool) -> Network:
    convolutions = 2 if bc else 1
    number, left = divmod(depth - 4, 3 * convolutions)
    if left or number < 1:
        raise UserError(
            f"{sharing.name}: a densenet{'-bc' if bc else ''} has {3 * convolutions}n + 4 layers, not {depth}"
        )
    blocks = (number,) * 3

    def build(options: Options) -> DenseNet:
        options.refuse_all_but(sharing.name)
        layers = options.layers(he_normal)
        return DenseNet(blocks, growth, options.num_classes, layers, bc, small_images=True)

    rule = sharing.rule(block_groups(blocks, bc))
    return Network(sharing.name, sharing.unshared, build, rule, INPUT, classifies=True)
