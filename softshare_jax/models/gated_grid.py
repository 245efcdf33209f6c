"""A gated network for grids, whose layers see the input again: made to run as a loop."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.models.initializers import he_normal
from softshare_jax.models.layers import Layers
from softshare_jax.models.network import Options
from softshare_jax.models.registry import Architecture, Family, Shareable

LAYERS = Layers(he_normal)
# Added to the gate's logits: at the start a layer mostly keeps its state.
KEEP = -1.0


class GatedLayer(nn.Module):
    """One turn of a minimal gated unit: ``(1 - g) h + g c``.

    One 3x3 convolution of the state h and the input computes the gate g and the candidate c. It has no norm
    and no bias, so a layer has one weight.

    Attributes:
        layers: makes the convolution.
    """

    layers: Layers

    @nn.compact
    def __call__(self, state: jax.Array, seen: jax.Array) -> jax.Array:
        """Maps a state ``[B, H, W, C]`` and the input ``[B, H, W, I]`` to the next state."""
        conv = self.layers.conv("conv", 2 * state.shape[-1], 3)
        gate, candidate = jnp.split(conv(jnp.concatenate([state, seen], axis=-1)), 2, axis=-1)
        gate = nn.sigmoid(gate + KEEP)
        return (1 - gate) * state + gate * jnp.tanh(candidate)


class GatedGrid(nn.Module):
    """Keeps the resolution and predicts every pixel; each layer sees the input again ("recall").

    It can answer after any layer, because all states have the same form: ``start``, then ``advance`` layer by
    layer, then ``answer``.

    Attributes:
        depth: number of gated layers, all of one shape.
        channels: channels of the state.
        layers: makes convolutions.
    """

    depth: int
    channels: int
    layers: Layers = LAYERS

    def setup(self) -> None:
        """Makes the layers."""
        self.stem = self.layers.conv(None, self.channels, 3)
        self.layer = [GatedLayer(self.layers) for _ in range(self.depth)]
        self.head = self.layers.conv(None, 1, 1, bias=True)

    def start(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images ``[B, H, W, I]`` to the first state, ``[B, H, W, C]``."""
        del train
        return jnp.tanh(self.stem(_seen(images)))

    def advance(self, layer: int, state: jax.Array, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps the state before a layer to the state after it."""
        del train
        return self.layer[layer](state, _seen(images))

    def answer(self, state: jax.Array) -> jax.Array:
        """Maps a state to logits ``[B, H, W]``."""
        return self.head(state)[..., 0].astype(jnp.float32)

    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images ``[B, H, W, I]`` to logits ``[B, H, W]``."""
        state = self.start(images, train)
        for layer in range(self.depth):
            state = self.advance(layer, state, images, train)
        return self.answer(state)


def _seen(images: jax.Array) -> jax.Array:
    """Adds a channel of ones: the padding of a convolution has zeros there, so a layer sees the border."""
    return jnp.concatenate([images, jnp.ones_like(images[..., :1])], axis=-1)


def architecture(depth: int, channels: int) -> Architecture:
    """Returns ``gated-20-24``, with twenty layers and a state of 24 channels, and others.

    Shareable: all layers, as one group.
    """

    def build(options: Options) -> GatedGrid:
        return GatedGrid(depth, channels, options.layers(he_normal))

    shareable = {"layers": Shareable(r"layer_\d+/conv/kernel", depth)}
    return Architecture(build, (32, 32, 2), shareable, classifies=False)


FAMILIES = (
    Family(r"gated-(?P<depth>[1-9]\d*)-(?P<channels>[1-9]\d*)", architecture, examples=("gated-20-24",)),
)
