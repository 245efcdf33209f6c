"""Vision transformers for small images (Dosovitskiy et al. 2021, arXiv 2010.11929)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.errors import UserError
from softshare_jax.models.initializers import uniform_fan_in
from softshare_jax.models.layers import Layers
from softshare_jax.models.network import SMALL_IMAGES, Options
from softshare_jax.models.registry import Architecture, Family, Shareable

# Channels of an attention head, and widths of the MLP for each of the network.
HEAD, EXPANSION = 32, 4
INIT = nn.initializers.truncated_normal(0.02)
GROUPS = {
    "query": "attention/query",
    "key": "attention/key",
    "value": "attention/value",
    "out": "attention/out",
    "up": "up",
    "down": "down",
}


class EncoderLayer(nn.Module):
    """Attention and an MLP, each behind a layer norm and with a skip connection.

    Attributes:
        layers: gives initializer and dtype.
    """

    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[B, T, C]`` to ``[B, T, C]``."""
        dtype, width = self.layers.dtype, x.shape[-1]
        init = {"kernel_init": self.layers.kernel_init, "dtype": dtype}
        y = nn.LayerNorm(dtype=dtype, name="norm_attention")(x)
        x = x + nn.MultiHeadDotProductAttention(width // HEAD, name="attention", **init)(y)
        y = nn.LayerNorm(dtype=dtype, name="norm_mlp")(x)
        y = nn.gelu(nn.Dense(EXPANSION * width, name="up", **init)(y))
        return x + nn.Dense(width, name="down", **init)(y)


class VisionTransformer(nn.Module):
    """Classifies the mean of its tokens, one for each patch of the image.

    Attributes:
        depth: number of encoder layers.
        width: channels of a token, a multiple of 32.
        patch: side of a patch in pixels; it divides that of the image.
        num_classes: number of classes.
        layers: gives initializers and dtype.
    """

    depth: int
    width: int
    patch: int
    num_classes: int = 10
    layers: Layers = Layers(INIT)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images ``[B, H, W, 3]`` to logits ``[B, num_classes]``; training is no different."""
        del train
        x = self.layers.conv("patches", self.width, self.patch, self.patch, padding=0, bias=True)(images)
        batch, height, width, _ = x.shape
        place = self.param("position", INIT, (1, height, width, self.width), jnp.float32)
        x = x + place.astype(x.dtype)
        x = x.reshape(batch, height * width, self.width)
        for i in range(self.depth):
            x = EncoderLayer(self.layers, name=f"layer_{i}")(x)
        x = nn.LayerNorm(dtype=self.layers.dtype, name="norm")(x)
        return self.layers.classifier(x.reshape(batch, height, width, self.width), self.num_classes)


def architecture(depth: int, width: int, patch: int) -> Architecture:
    """Returns ``vit-12-64-4``, with 12 layers of width 64 and patches of 4 pixels, and others.

    Shareable: in six groups, the kernels of query, key, value and output projections and of both layers of
    the MLP.

    Raises:
        UserError: the width is not a multiple of 32, or patches do not tile the image.
    """
    if width % HEAD:
        raise UserError(f"the width is {width}; it must be a multiple of {HEAD}, the size of a head")
    if SMALL_IMAGES[0] % patch:
        raise UserError(f"the patch is {patch}; it must divide {SMALL_IMAGES[0]} pixels")

    def build(options: Options) -> VisionTransformer:
        layers = options.layers(INIT, uniform_fan_in)
        return VisionTransformer(depth, width, patch, options.num_classes, layers)

    shareable = {name: Shareable(rf"layer_\d+/{part}/kernel", depth) for name, part in GROUPS.items()}
    return Architecture(build, SMALL_IMAGES, shareable)


FAMILIES = (
    Family(
        r"vit-(?P<depth>[1-9]\d*)-(?P<width>[1-9]\d*)-(?P<patch>[1-9]\d*)",
        architecture,
        examples=("vit-12-64-4",),
    ),
)
