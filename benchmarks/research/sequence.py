"""A transformer with linen's attention and one with NNX's, unshared and with half as many templates.

    python -m benchmarks.research.sequence

Six layers learn to continue noisy repetitions: a random segment of unknown length repeats, and one token in
ten is random. Only the predictable tokens count: those after the first segment. All attention projections and
both dense layers share three templates among six layers; the networks need no changes.
"""

import argparse
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from benchmarks.runs import machine
from softshare_jax import sharing
from softshare_jax.training import randomness

LAYERS, WIDTH, HEADS = 6, 32, 4
VOCABULARY, LENGTH, SEGMENT, NOISE = 8, 24, (3, 4), 0.1
BATCH, HELD_OUT, LEARNING_RATE, WEIGHT_DECAY = 32, 1024, 4e-3, 1e-2


class LinenTransformer(nn.Module):
    """A pre-norm, causal transformer with linen's attention: tokens ``[B, T]`` -> logits ``[B, T, V]``."""

    @nn.compact
    def __call__(self, tokens):
        """Returns the logits of the next token at every place."""
        places = nn.Embed(LENGTH, WIDTH, name="place_embedding")(jnp.arange(tokens.shape[1]))
        x = nn.Embed(VOCABULARY, WIDTH, name="token_embedding")(tokens) + places[None]
        mask = nn.make_causal_mask(tokens)
        for i in range(LAYERS):
            attention = nn.MultiHeadDotProductAttention(HEADS, name=f"attention_{i}")
            x = x + attention(nn.LayerNorm()(x), mask=mask)
            hidden = nn.gelu(nn.Dense(4 * WIDTH, name=f"up_{i}")(nn.LayerNorm()(x)))
            x = x + nn.Dense(WIDTH, name=f"down_{i}")(hidden)
        return nn.Dense(VOCABULARY, name="head")(nn.LayerNorm()(x))


class NnxBlock(nnx.Module):
    """Attention and two dense layers, each after a norm."""

    def __init__(self, rngs: nnx.Rngs):
        self.norms = nnx.List([nnx.LayerNorm(WIDTH, rngs=rngs) for _ in range(2)])
        self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=rngs)
        self.up = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs)
        self.down = nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x, mask):
        """Returns ``[B, T, C]``."""
        x = x + self.attention(self.norms[0](x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.norms[1](x))))


class NnxTransformer(nnx.Module):
    """The same network in NNX."""

    def __init__(self, rngs: nnx.Rngs):
        self.token_embedding = nnx.Embed(VOCABULARY, WIDTH, rngs=rngs)
        self.place_embedding = nnx.Embed(LENGTH, WIDTH, rngs=rngs)
        self.blocks = nnx.List([NnxBlock(rngs) for _ in range(LAYERS)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, VOCABULARY, rngs=rngs)

    def __call__(self, tokens):
        """Returns the logits of the next token at every place."""
        x = self.token_embedding(tokens) + self.place_embedding(jnp.arange(tokens.shape[1]))[None]
        mask = nnx.make_causal_mask(tokens)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x))


# One rule for both: `attention_0/query/kernel` in linen, `blocks/0/attention/query/kernel/value` in NNX.
RULE = sharing.by_regex(
    {
        name: rf"(.*/)?{name}(_\d+)?/kernel(/value)?"
        for name in ("query", "key", "value", "out", "up", "down")
    },
    templates=LAYERS // 2,
)

# (variables, tokens [B, T]) -> logits [B, T, V]; Any, because linen does not type the result of apply.
Logits = Callable[[dict[str, Any], jax.Array], Any]


class Network(NamedTuple):
    """A network for training.

    Attributes:
        variables: collections of variables.
        logits: logits of the network in training.
        dense_logits: logits of the unmodified model on dense weights, called in its library's usual way.
    """

    variables: dict[str, Any]
    logits: Logits
    dense_logits: Logits


def linen(seed: int, shared: bool) -> Network:
    """Returns the linen network in ``SoftShare``; unshared under the empty plan."""
    model, key, tokens = LinenTransformer(), randomness.key(seed), jnp.zeros((1, LENGTH), jnp.int32)
    plan = RULE(jax.eval_shape(model.init, key, tokens)["params"]) if shared else sharing.Plan()
    network = sharing.SoftShare(model, plan)
    return Network(
        jax.jit(network.init)(key, tokens),
        network.apply,
        lambda variables, tokens: model.apply(sharing.to_dense(plan, variables), tokens),
    )


def of_nnx(seed: int, shared: bool) -> Network:
    """Returns the NNX network on materialized weights; unshared under the empty plan."""
    definition, params, *others = nnx.split(NnxTransformer(nnx.Rngs(seed)), nnx.Param, ...)
    plan = RULE(params) if shared else sharing.Plan()

    def logits(variables, tokens):
        return nnx.merge(definition, sharing.materialize(plan, variables), *others, copy=True)(tokens)

    def dense_logits(variables, tokens):
        model = NnxTransformer(nnx.Rngs(0))
        nnx.update(model, sharing.materialize(plan, variables))
        return model(tokens)

    return Network(sharing.initialize(plan, params, randomness.key(seed)), logits, dense_logits)


def repetitions(key: jax.Array, number: int) -> tuple[jax.Array, jax.Array]:
    """Returns sequences ``[number, LENGTH + 1]`` and a mask of the tokens that count."""
    keys = jax.random.split(key, 4)
    length = jax.random.randint(keys[0], (number, 1), SEGMENT[0], SEGMENT[1] + 1)
    segment = jax.random.randint(keys[1], (number, SEGMENT[1]), 0, VOCABULARY)
    place = jnp.arange(LENGTH + 1)[None]
    clean = jnp.take_along_axis(segment, place % length, axis=1)
    noise = jax.random.randint(keys[2], clean.shape, 0, VOCABULARY)
    counts = place >= length
    noisy = jax.random.bernoulli(keys[3], NOISE, clean.shape) & counts
    return jnp.where(noisy, noise, clean), counts


def mean_loss(logits: Logits, variables: dict[str, Any], tokens: jax.Array, counts: jax.Array) -> jax.Array:
    """Returns the mean cross-entropy in nats of the tokens that count."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits(variables, tokens[:, :-1]), tokens[:, 1:])
    return jnp.sum(losses, where=counts[:, 1:]) / jnp.sum(counts[:, 1:])


def train(network: Network, seed: int, steps: int) -> dict[str, Any]:
    """Returns the variables after a number of steps on fresh sequences."""
    rate = optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, steps // 10, steps)
    optimizer = optax.chain(
        optax.scale_by_adam(), sharing.add_decayed_weights(WEIGHT_DECAY), optax.scale_by_learning_rate(rate)
    )

    @jax.jit
    def step(variables, state, number):
        batch = repetitions(jax.random.fold_in(randomness.key(seed), number), BATCH)
        gradients = jax.grad(lambda v: mean_loss(network.logits, v, *batch))(variables)
        updates, state = optimizer.update(gradients, state, variables)
        return optax.apply_updates(variables, updates), state

    variables = network.variables
    state = optimizer.init(variables)
    for number in range(steps):
        variables, state = step(variables, state, number)
    return variables


def least_loss() -> float:
    """Returns the entropy in nats of a token, given its segment."""
    wrong = NOISE / VOCABULARY
    right = 1 - wrong * (VOCABULARY - 1)
    return -(right * math.log(right) + (VOCABULARY - 1) * wrong * math.log(wrong))


def main() -> None:
    """Trains all networks and prints a Markdown table."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--seeds", type=int, default=3)
    flags.add_argument("--steps", type=int, default=500)
    arguments = flags.parse_args()

    held_out = repetitions(randomness.key(2**31), HELD_OUT)
    print(machine())
    print(f"{arguments.steps} steps; loss by chance {math.log(VOCABULARY):.3f}, at least {least_loss():.3f}")
    print(
        "| network | seed | parameters, unshared -> shared | loss, unshared | shared | ratio | difference |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, build in (("linen", linen), ("NNX", of_nnx)):
        for seed in range(arguments.seeds):
            unshared, shared = build(seed, shared=False), build(seed, shared=True)
            sizes = [sum(x.size for x in jax.tree.leaves(n.variables)) for n in (unshared, shared)]
            trained = [train(network, seed, arguments.steps) for network in (unshared, shared)]
            losses = [
                float(jax.jit(partial(mean_loss, n.logits))(v, *held_out))
                for n, v in zip((unshared, shared), trained, strict=True)
            ]
            tokens = held_out[0][:64, :-1]
            difference = jnp.max(
                jnp.abs(shared.logits(trained[1], tokens) - shared.dense_logits(trained[1], tokens))
            )
            print(
                f"| {name} | {seed} | {sizes[0]:,} -> {sizes[1]:,} | {losses[0]:.4f} | {losses[1]:.4f} "
                f"| {losses[1] / losses[0]:.3f} | {float(difference):.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
