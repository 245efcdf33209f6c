"""Rates of the implementations of convolution on this CPU, by operation, in turns.

python -m benchmarks.speed.convolutions
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.runs import machine
from softshare_jax.ops.convolution import CONVOLUTIONS
from softshare_jax.ops.dense_convolution import LAYOUT
from softshare_jax.ops.onednn import available

# Images, side, input and output channels, side of the kernel, stride: layers of wide ResNets.
SHAPES = (
    (128, 32, 16, 16, 3, 1),
    (128, 16, 32, 32, 3, 1),
    (128, 8, 64, 64, 3, 1),
    (128, 32, 32, 32, 3, 1),
    (128, 32, 32, 64, 3, 2),
    (128, 32, 32, 64, 1, 2),
    (16, 32, 160, 160, 3, 1),
    (16, 8, 640, 640, 3, 1),
)
OPERATIONS = "forward", "image gradient", "weight gradient"


def main() -> None:
    """Measures and prints."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--rounds", type=int, default=15)
    arguments = flags.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    names = [name for name in CONVOLUTIONS if name != "onednn" or available()]
    print(machine())
    print("GFLOP/s, medians: " + ", ".join(names))
    for shape in SHAPES:
        programs = {name: _programs(name, shape) for name in names}
        for operation in OPERATIONS:
            seconds: dict[str, list[float]] = {name: [] for name in names}
            for _ in range(arguments.rounds):
                for name in names:
                    seconds[name].append(_time(*programs[name][operation]))
            rates = (f"{_work(shape) / statistics.median(seconds[name]) / 1e9:6.0f}" for name in names)
            print(f"  {shape!s:32} {operation:16}" + " ".join(rates), flush=True)


def _work(shape) -> float:
    """Operations of a convolution; a multiplication and an addition count as two."""
    images, side, inputs, outputs, kernel, stride = shape
    return 2 * images * (side // stride) ** 2 * kernel**2 * inputs * outputs


def _programs(name, shape):
    """Returns a compiled program and its arguments for each operation."""
    images, side, inputs, outputs, kernel, stride = shape
    draw = np.random.default_rng(0)
    x = jnp.asarray(draw.normal(size=(images, side, side, inputs)), jnp.float32)
    w = jnp.asarray(draw.normal(size=(kernel, kernel, inputs, outputs)), jnp.float32)
    g = jnp.asarray(draw.normal(size=(images, side // stride, side // stride, outputs)), jnp.float32)
    pad = kernel // 2

    def convolve(x, w):
        padding = ((pad, pad), (pad, pad))
        return CONVOLUTIONS[name](x, w, (stride, stride), padding, dimension_numbers=LAYOUT)

    programs = {
        "forward": (convolve, (x, w)),
        "image gradient": (lambda w, g: jax.vjp(lambda x: convolve(x, w), x)[1](g), (w, g)),
        "weight gradient": (lambda x, g: jax.vjp(lambda w: convolve(x, w), w)[1](g), (x, g)),
    }
    compiled = {op: (jax.jit(run).lower(*given).compile(), given) for op, (run, given) in programs.items()}
    for run, given in compiled.values():
        jax.block_until_ready(run(*given))
    return compiled


def _time(run, given) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run(*given))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
