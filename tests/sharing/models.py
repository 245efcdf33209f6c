"""Typical models of linen, NNX and Equinox, and one without a library."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from softshare_jax import sharing

KEY = jax.random.key(0)
ROW = jnp.sin(jnp.arange(24.0)).reshape(4, 6)
IMAGE = jnp.sin(jnp.arange(2 * 5 * 5 * 3.0)).reshape(2, 5, 5, 3)
TOKENS = jnp.array([[1, 5, 2, 7], [3, 3, 0, 6]])


class Case(NamedTuple):
    """A model and how it shares.

    Attributes:
        params: its parameters, in the library's own form.
        apply: params -> outputs on some inputs.
        rule: sharing rule with two templates.
        groups: the number of layers per group that the rule should find.
    """

    params: Any
    apply: Callable[[Any], jax.Array]
    rule: sharing.Rule
    groups: dict[str, int]


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8)(x)
        for _ in range(4):
            x = nn.LayerNorm()(nn.relu(nn.Dense(8)(x)))
        return nn.Dense(3)(x)


class ConvNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (1, 1))(x)
        for _ in range(3):
            x = x + nn.relu(nn.GroupNorm(2)(nn.Conv(4, (3, 3))(x)))
        return nn.Dense(3)(x.mean((1, 2)))


class Transformer(nn.Module):
    layers: int = 4

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(8, 8)(tokens) + nn.Embed(4, 8, name="position_embedding")(jnp.arange(4))
        for _ in range(self.layers):
            x = x + nn.MultiHeadDotProductAttention(2, use_bias=True)(nn.LayerNorm()(x))
            x = x + nn.Dense(8)(nn.relu(nn.Dense(16)(nn.LayerNorm()(x))))
        return nn.Dense(8)(x)


class Scanned(nn.Module):
    @nn.compact
    def __call__(self, x):
        body = nn.scan(
            lambda layer, x: (nn.relu(layer(x)), None),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=4,
        )
        return body(nn.Dense(6, name="layers"), x)[0]


def linen(module: nn.Module, x: jax.Array, rule: sharing.Rule, groups: dict[str, int]) -> Case:
    params = module.init(KEY, x)["params"]
    return Case(params, lambda p: module.apply({"params": p}, x), rule, groups)


class NnxTransformer(nnx.Module):
    def __init__(self, layers, rngs):
        self.embedding = nnx.Embed(8, 8, rngs=rngs)
        self.attention = nnx.List(
            [nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs) for _ in range(layers)]
        )
        self.first_norm = nnx.List([nnx.LayerNorm(8, rngs=rngs) for _ in range(layers)])
        self.up = nnx.List([nnx.Linear(8, 16, rngs=rngs) for _ in range(layers)])
        self.down = nnx.List([nnx.Linear(16, 8, rngs=rngs) for _ in range(layers)])
        self.head = nnx.Linear(8, 8, rngs=rngs)

    def __call__(self, tokens):
        x = self.embedding(tokens)
        for attention, norm, up, down in zip(
            self.attention, self.first_norm, self.up, self.down, strict=True
        ):
            x = x + attention(norm(x))
            x = x + down(nnx.relu(up(x)))
        return self.head(x)


class NnxConvNet(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Conv(3, 4, (1, 1), rngs=rngs)
        self.convs = nnx.List([nnx.Conv(4, 4, (3, 3), rngs=rngs) for _ in range(3)])
        self.norms = nnx.List([nnx.BatchNorm(4, use_running_average=False, rngs=rngs) for _ in range(3)])

    def __call__(self, x):
        x = self.stem(x)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = x + nnx.relu(norm(conv(x)))
        return x


class NnxScanned(nnx.Module):
    def __init__(self, rngs):
        @nnx.split_rngs(splits=4)
        @nnx.vmap(in_axes=0, out_axes=0)
        def stack(rngs):
            return nnx.Linear(6, 6, rngs=rngs)

        self.layers = stack(rngs)

    def __call__(self, x):
        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        def run(x, layer):
            return nnx.relu(layer(x))

        return run(x, self.layers)


def of_nnx(model: nnx.Module, x: jax.Array, rule: sharing.Rule, groups: dict[str, int]) -> Case:
    definition, params, others = nnx.split(model, nnx.Param, ...)
    return Case(params, lambda p: nnx.merge(definition, p, others, copy=True)(x), rule, groups)


class EqxConvNet(eqx.Module):
    stem: eqx.nn.Conv2d
    convs: list[eqx.nn.Conv2d]
    activation: Callable

    def __init__(self, key):
        stem, *keys = jax.random.split(key, 4)
        self.stem = eqx.nn.Conv2d(3, 4, 1, key=stem)
        self.convs = [eqx.nn.Conv2d(4, 4, 3, padding=1, key=key) for key in keys]
        self.activation = jax.nn.relu

    def __call__(self, x):
        x = self.stem(jnp.moveaxis(x, -1, 0))
        for conv in self.convs:
            x = x + self.activation(conv(x))
        return x


class EqxAttention(eqx.Module):
    layers: tuple[eqx.nn.MultiheadAttention, ...]

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.layers = tuple(eqx.nn.MultiheadAttention(2, 6, key=k, use_query_bias=True) for k in keys)

    def __call__(self, x):
        for layer in self.layers:
            x = x + layer(x, x, x)
        return x


class EqxScanned(eqx.Module):
    layers: eqx.nn.Linear

    def __init__(self, key):
        self.layers = eqx.filter_vmap(lambda key: eqx.nn.Linear(6, 6, key=key))(jax.random.split(key, 4))

    def __call__(self, x):
        return jax.lax.scan(lambda x, layer: (jax.nn.relu(layer(x)), None), x, self.layers)[0]


def equinox(module: eqx.Module, x: jax.Array, rule: sharing.Rule, groups: dict[str, int]) -> Case:
    return Case(module, lambda m: jax.vmap(m)(x), rule, groups)


def list_of_dictionaries() -> Case:
    keys = jax.random.split(KEY, 3)
    params = [{"w": jax.random.normal(key, (6, 6)), "b": jnp.ones(6)} for key in keys]

    def apply(params):
        x = ROW
        for layer in params:
            x = jnp.tanh(x @ layer["w"] + layer["b"])
        return x

    return Case(params, apply, sharing.by_shape(2), {"6x6": 3})


def attention(path: str) -> sharing.Rule:
    return sharing.by_regex({name: path.format(name) for name in ("query", "key", "value", "out")}, 2)


CASES: dict[str, Callable[[], Case]] = {
    "linen dense": lambda: linen(Mlp(), ROW, sharing.by_shape(2), {"8x8": 4}),
    "linen conv": lambda: linen(ConvNet(), IMAGE, sharing.by_shape(2), {"3x3x4x4": 3}),
    "linen transformer by shape": lambda: linen(
        Transformer(),
        TOKENS,
        sharing.by_shape(2),
        {
            **{f"MultiHeadDotProductAttention.{w}.kernel-8x2x4": 4 for w in ("query", "key", "value")},
            "2x4x8": 4,
            "8x16": 4,
            "16x8": 4,
        },
    ),
    "linen transformer by name": lambda: linen(
        Transformer(),
        TOKENS,
        attention(r"MultiHeadDotProductAttention_\d+/{}/kernel"),
        dict.fromkeys(("query", "key", "value", "out"), 4),
    ),
    "linen scan": lambda: linen(Scanned(), ROW, sharing.by_shape(2, stacked="layers/.*"), {"6x6": 4}),
    "nnx conv": lambda: of_nnx(NnxConvNet(nnx.Rngs(0)), IMAGE, sharing.by_shape(2), {"3x3x4x4": 3}),
    "nnx transformer by shape": lambda: of_nnx(
        NnxTransformer(4, nnx.Rngs(0)),
        TOKENS,
        sharing.by_shape(2, roles=False),
        {"8x2x4": 12, "2x4x8": 4, "8x16": 4, "16x8": 4},
    ),
    "nnx transformer by name": lambda: of_nnx(
        NnxTransformer(4, nnx.Rngs(0)),
        TOKENS,
        attention(r"attention/\d+/{}/kernel/value"),
        dict.fromkeys(("query", "key", "value", "out"), 4),
    ),
    "nnx scan": lambda: of_nnx(
        NnxScanned(nnx.Rngs(0)), ROW, sharing.by_shape(2, stacked="layers/.*"), {"6x6": 4}
    ),
    "equinox dense": lambda: equinox(
        eqx.nn.MLP(6, 6, 6, 3, key=KEY), ROW, sharing.by_regex({"all": r"layers/\d/weight"}, 2), {"all": 4}
    ),
    "equinox conv": lambda: equinox(EqxConvNet(KEY), IMAGE, sharing.by_shape(2), {"4x4x3x3": 3}),
    "equinox attention": lambda: equinox(
        EqxAttention(KEY), ROW[None], sharing.by_regex({"value": r".*value_proj/weight"}, 2), {"value": 4}
    ),
    "equinox scan": lambda: equinox(
        EqxScanned(KEY), ROW, sharing.by_shape(2, stacked="layers/.*"), {"6x6": 4}
    ),
    "a list of dictionaries": list_of_dictionaries,
    # The richer forms.
    "linen conv, per channel": lambda: linen(
        ConvNet(), IMAGE, sharing.by_shape(2, per_channel=True), {"3x3x4x4": 3}
    ),
    "nnx scan, per channel": lambda: of_nnx(
        NnxScanned(nnx.Rngs(0)),
        ROW,
        sharing.by_shape(2, stacked="layers/.*", per_channel=True),
        {"6x6": 4},
    ),
    "equinox conv, residuals": lambda: equinox(
        EqxConvNet(KEY), IMAGE, sharing.by_shape(2, rank=1), {"4x4x3x3": 3}
    ),
    "linen scan, per channel and residuals": lambda: linen(
        Scanned(), ROW, sharing.by_shape(2, stacked="layers/.*", per_channel=True, rank=2), {"6x6": 4}
    ),
}
