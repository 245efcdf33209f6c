"""A language model of bytes, shared and unshared, on the source code of Python's standard library.

    python -m benchmarks.research.language --output=runs/language --seeds=3

Nothing is downloaded: the text is the library of the Python that runs this. A causal transformer of plain
linen modules trains unshared; soft-shared, with half and a third as many templates as layers and with one, in
six groups (query, key, value, out, up, down); with only the weights shared that read the residual stream, or
only those that write into it; and unshared with the parameters of a third, in fewer or in narrower layers.

Each network and seed is a line of rows.jsonl: bits per byte on files that were held out, parameters, and the
loops of a fold at 0.9. Networks that are there are not trained again. Also writes table.md and, of the first
seed, the similarity matrices.
"""

import argparse
import pathlib
import sysconfig
import time
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.research import comparison
from benchmarks.runs import machine
from softshare_jax import durable, sharing
from softshare_jax.training import randomness

BYTES, HEAD = 256, 32
READS, WRITES = ("query", "key", "value", "up"), ("out", "down")
LEARNING_RATE, WEIGHT_DECAY, WARMUP = 1e-3, 0.1, 0.1
# One file in this many is held out; of these, so many bytes are scored.
HELD_OUT, SCORED = 20, 2**18


class Transformer(nn.Module):
    """A pre-norm, causal transformer.

    Attributes:
        layers: number of layers.
        width: width of the residual stream, a multiple of ``HEAD``.
        length: bytes that it sees.
        dtype: dtype of the computation.
    """

    layers: int
    width: int
    length: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps bytes ``[B, T]`` to the logits of the next byte at every place, ``[B, T, 256]``."""
        places = nn.Embed(self.length, self.width, name="place", dtype=self.dtype)(
            jnp.arange(tokens.shape[1])
        )
        x = nn.Embed(BYTES, self.width, name="byte", dtype=self.dtype)(tokens) + places[None]
        mask = nn.make_causal_mask(tokens)
        for i in range(self.layers):
            attention = nn.MultiHeadDotProductAttention(
                self.width // HEAD, dtype=self.dtype, name=f"attention_{i}"
            )
            x = x + attention(nn.LayerNorm(dtype=self.dtype)(x), mask=mask)
            hidden = nn.Dense(4 * self.width, dtype=self.dtype, name=f"up_{i}")(
                nn.LayerNorm(dtype=self.dtype)(x)
            )
            x = x + nn.Dense(self.width, dtype=self.dtype, name=f"down_{i}")(nn.gelu(hidden))
        return nn.Dense(BYTES, name="head")(nn.LayerNorm(dtype=self.dtype)(x)).astype(jnp.float32)


class Network(NamedTuple):
    """A network of the table.

    Attributes:
        name: its name.
        layers: number of layers.
        width: width of the residual stream.
        templates: templates of a group; 0 if nothing is shared.
        parts: names of the weights that are shared.
    """

    name: str
    layers: int
    width: int
    templates: int = 0
    parts: tuple[str, ...] = (*READS, *WRITES)

    def plan(self, params: Any) -> sharing.Plan:
        """Returns which weights are shared."""
        if not self.templates:
            return sharing.Plan()
        patterns = {part: rf"(.*/)?{part}(_\d+)?/kernel" for part in self.parts}
        return sharing.by_regex(patterns, templates=self.templates)(params)


class Text(NamedTuple):
    """Bytes for training and bytes of other files."""

    train: np.ndarray
    held_out: np.ndarray


def main() -> None:
    """Trains what is not in rows.jsonl, and writes the table."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--output", default="runs/language", help="folder of the results")
    flags.add_argument("--seeds", type=comparison.positive, default=3)
    flags.add_argument("--layers", type=int, default=12)
    flags.add_argument("--width", type=int, default=128, help=f"a multiple of {HEAD}")
    flags.add_argument("--length", type=int, default=256, help="bytes that the networks see")
    flags.add_argument("--batch_size", type=int, default=64)
    flags.add_argument("--steps", type=comparison.positive, default=10_000)
    flags.add_argument("--dtype", default="float32", help="float32 or bfloat16")
    flags.add_argument("--networks", nargs="+", help="names of networks (default: all)")
    arguments = flags.parse_args()
    output = pathlib.Path(arguments.output)
    durable.make_folder(output)
    text = standard_library()
    print(machine())
    train, scored = (f"{len(part):,}" for part in text)
    print(f"{train} bytes to train on, {scored} of other files to score", flush=True)
    file = output / "rows.jsonl"
    rows = comparison.read(file)
    comparison.check_settings(file, rows, settings(arguments))
    for seed in range(arguments.seeds):
        for network in networks(arguments.layers, arguments.width):
            done = any((row["network"], row["seed"]) == (network.name, seed) for row in rows)
            if done or (arguments.networks and network.name not in arguments.networks):
                continue
            print(f"{network.name}, seed {seed}", flush=True)
            rows.append(run(network, seed, text, arguments, output))
            comparison.write(file, rows)
    comparison.show(output / "table.md", comparison.table(rows, "bits_per_byte", 4))


def settings(arguments: argparse.Namespace) -> comparison.Row:
    """Returns what all rows of an output have in common."""
    return {name: getattr(arguments, name) for name in ("steps", "batch_size", "length", "dtype")}


def networks(layers: int, width: int) -> tuple[Network, ...]:
    """Returns the networks to compare, given the number of layers and the width of the unshared one."""
    third = layers // 3
    # A layer has 12 width^2 parameters, so this width leaves a third of them, to a multiple of a head.
    narrow = max(HEAD, round(width * 3**-0.5 / HEAD) * HEAD)
    return (
        Network("unshared", layers, width),
        Network("k = L/2", layers, width, layers // 2),
        Network("k = L/3", layers, width, third),
        Network("k = 1", layers, width, 1),
        Network("k = L/3, what reads", layers, width, third, READS),
        Network("k = L/3, what writes", layers, width, third, WRITES),
        Network("unshared, L/3 layers", third, width),
        Network("unshared, narrow", layers, narrow),
    )


def standard_library() -> Text:
    """Returns the source code of Python's standard library, without its tests, in the order of file names."""
    root = pathlib.Path(sysconfig.get_paths()["stdlib"])
    excluded = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
    files = sorted(
        file for file in root.rglob("*.py") if not excluded & set(file.relative_to(root).parts[:-1])
    )
    contents = [np.frombuffer(file.read_bytes(), np.uint8) for file in files]
    held_out = contents[HELD_OUT // 2 :: HELD_OUT]
    del contents[HELD_OUT // 2 :: HELD_OUT]
    return Text(np.concatenate(contents), np.concatenate(held_out)[:SCORED])


def run(
    network: Network, seed: int, text: Text, arguments: argparse.Namespace, output: pathlib.Path
) -> comparison.Row:
    """Trains a network, and returns its row."""
    start = time.monotonic()
    model = Transformer(network.layers, network.width, arguments.length, jnp.dtype(arguments.dtype))
    example = jnp.zeros((1, arguments.length), jnp.int32)
    plan = network.plan(jax.eval_shape(model.init, randomness.key(seed), example)["params"])
    shared = sharing.SoftShare(model, plan)
    variables = jax.jit(shared.init)(randomness.key(seed), example)
    variables = train(shared, variables, text.train, seed, arguments)
    score = bits_per_byte(shared, variables, text.held_out, arguments)
    row: comparison.Row = {
        "network": network.name,
        "seed": seed,
        "layers": network.layers,
        "width": network.width,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables)),
        **settings(arguments),
        "bits_per_byte": round(score, 4),
        "seconds": round(time.monotonic() - start, 1),
        "device": jax.devices()[0].device_kind,
    }
    if plan.groups:
        row["loops"] = comparison.loops(plan, variables)
        if seed == 0:
            name = network.name.translate(str.maketrans("", "", " ,=/"))
            sharing.plot_similarity(plan, variables).save(output / f"similarity-{name}.svg")
    print(f"  {score:.4f} bits per byte, {row['parameters']:,} parameters, {row['seconds']} s", flush=True)
    return row


def losses(model: Any, variables: Any, tokens: jax.Array) -> jax.Array:
    """Returns the cross-entropy in nats of each byte but the first: ``[B, T + 1]`` -> ``[B, T]``."""
    return optax.softmax_cross_entropy_with_integer_labels(
        model.apply(variables, tokens[:, :-1]), tokens[:, 1:]
    )


def train(model: Any, variables: Any, text: np.ndarray, seed: int, arguments: argparse.Namespace) -> Any:
    """Returns the variables after all steps of AdamW on random places of the text."""
    steps, length = arguments.steps, arguments.length
    rate = optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, int(WARMUP * steps), steps)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(b2=0.98),
        sharing.add_decayed_weights(WEIGHT_DECAY),
        optax.scale_by_learning_rate(rate),
    )

    @jax.jit
    def step(variables, state, text, key):
        places = jax.random.randint(key, (arguments.batch_size, 1), 0, len(text) - length)
        tokens = text[places + jnp.arange(length + 1)[None]].astype(jnp.int32)
        loss, gradients = jax.value_and_grad(lambda v: jnp.mean(losses(model, v, tokens)))(variables)
        updates, state = optimizer.update(gradients, state, variables)
        return optax.apply_updates(variables, updates), state, loss

    state, on_device = optimizer.init(variables), jnp.asarray(text)
    start = time.monotonic()
    for number in range(steps):
        key = randomness.stream(seed, "places", number)
        variables, state, loss = step(variables, state, on_device, key)
        if number + 1 == steps or (number + 1) % max(1, steps // 10) == 0:
            bits, rate_now = float(loss) / np.log(2), (number + 1) / (time.monotonic() - start)
            print(
                f"  step {number + 1}/{steps}  {bits:.3f} bits per byte  {rate_now:.1f} steps/s", flush=True
            )
    return variables


def bits_per_byte(model: Any, variables: Any, text: np.ndarray, arguments: argparse.Namespace) -> float:
    """Returns the mean over the whole text, cut into pieces of the length that the networks see."""
    pieces = (len(text) - 1) // arguments.length
    starts = arguments.length * np.arange(pieces)[:, None]
    tokens = text[starts + np.arange(arguments.length + 1)].astype(np.int32)
    total = jax.jit(lambda v, batch: jnp.sum(losses(model, v, batch)))
    nats = sum(
        float(total(variables, tokens[first : first + arguments.batch_size]))
        for first in range(0, pieces, arguments.batch_size)
    )
    return nats / (pieces * arguments.length * np.log(2))


if __name__ == "__main__":
    main()
