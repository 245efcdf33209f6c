"""The networks for 32x32 images by name, but for those of searched cells."""

import re

from softshare_jax.errors import UserError
from softshare_jax.models import bottleneck, densenet, imagenet, wide_resnet
from softshare_jax.models.network import Network, Sharing

INPUT = (32, 32, 3)
PATTERN = (
    r"(?P<wrn>wrn)-(?P<wrn_depth>[1-9]\d*)-(?P<width>[1-9]\d*)"
    r"|(?P<resnext>resnext)-(?P<resnext_depth>\d+)-(?P<groups>[1-9]\d*)x(?P<channels>[1-9]\d*)d"
    r"|(?P<densenet>densenet(?P<bc>-bc)?)-(?P<densenet_depth>\d+)(?:-(?P<growth>[1-9]\d*))?"
)
EXAMPLES = ("wrn-28-10", "wrn-40-4", "resnext-29-8x64d", "densenet-100-24", "densenet-bc-190-40")


def from_name(match: re.Match[str], sharing: Sharing) -> Network:
    """Returns the network for small images that a name asks for.

    ``wrn-28-10`` is a wide ResNet, ``swrn-28-10-2`` the same with two templates for the six 3x3
    convolutions of each stage that follow its first block, ``swrn-28-10`` with one template per layer.
    ``sresnext-29-8x64d-1`` shares as networks for ImageNet do, ``sdensenet-bc-190-40-4`` the 3x3
    convolutions of each block and ``sdensenet-100-24-4``, where no two of these have one shape, the part of
    each that reads what comes into the block.

    Raises:
        UserError: there is such a network, but not with so many layers or templates.
    """
    if match["wrn"]:
        depth = int(match["wrn_depth"])
        if depth % 6 != 4 or depth < 10:
            raise UserError(
                f"{sharing.name}: a wide ResNet has 6n + 4 layers (10, 16, 22, 28, ...), not {depth}; "
                f"for ImageNet it has {imagenet.DEPTHS}"
            )
        return wide_resnet.network(sharing, depth, int(match["width"]))
    if match["resnext"]:
        depth, groups = int(match["resnext_depth"]), int(match["groups"])
        if depth % 9 != 2 or depth < 11:
            raise UserError(
                f"{sharing.name}: a resnext has 9n + 2 layers (11, 20, 29, 47, ...), not {depth}; "
                f"for ImageNet it has {imagenet.DEPTHS}"
            )
        blocks, inner = ((depth - 2) // 9,) * 3, groups * int(match["channels"])
        return bottleneck.network(sharing, blocks, inner, groups, INPUT, small_images=True)
    depth, bc = int(match["densenet_depth"]), bool(match["bc"])
    if not match["growth"]:
        raise UserError(
            f"{sharing.name}: a densenet has {imagenet.DENSE_DEPTHS} for ImageNet, not {depth}; "
            "for small images its growth follows, as in densenet-100-24"
        )
    if not bc and depth in imagenet.DENSENETS:
        # Or sdensenet-121-12 would be this one shared, and that of ImageNet with 12 templates.
        raise UserError(
            f"{sharing.name}: a densenet of {depth} layers is for ImageNet; for small images it has others"
        )
    layers, left = divmod(depth - 4, 6 if bc else 3)
    if left or layers < 1:
        raise UserError(
            f"{sharing.name}: a densenet{match['bc'] or ''} has {6 if bc else 3}n + 4 layers, not {depth}"
        )
    return densenet.network(sharing, (layers,) * 3, int(match["growth"]), INPUT, bc, small_images=True)
