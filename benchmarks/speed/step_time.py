"""The cost of soft sharing: step and compile time of a soft-shared network over its unshared one.

    python -m benchmarks.speed.step_time --plain=wrn-28-10 --shared=swrn-28-10-2

Also prints the fraction of a step that its input takes (batch, augmentation, normalization) and, with
--peak_tflops, the fraction of the device's peak that the shared network reaches.
"""

import statistics
import time

import jax

from benchmarks.runs import Run, Timed, experiment, interleave, machine, parser, ratio
from softshare_jax.description.description import describe
from softshare_jax.training.randomness import stream
from softshare_jax.training.tasks.batching import take


def main() -> None:
    """Measures and prints."""
    flags = parser(__doc__)
    flags.add_argument("--plain", default="wrn-28-1")
    flags.add_argument("--shared", default="swrn-28-1-2")
    flags.add_argument("--scan_blocks", default="auto", help="yes, no or auto")
    flags.add_argument("--side", type=int, default=32, help="pixels per side of the grid (shortest paths)")
    flags.add_argument("--peak_tflops", type=float, help="peak of the device in this dtype")
    arguments = flags.parse_args()
    # Time compilation without a cache.
    jax.config.update("jax_enable_compilation_cache", False)

    fields = {"batch_size": arguments.batch_size, "dtype": arguments.dtype, "steps_per_dispatch": 1}
    if "wrn" in arguments.plain:
        fields["scan_blocks"] = arguments.scan_blocks
    else:
        fields["data__side"] = arguments.side
    names = {"plain": arguments.plain, "shared": arguments.shared}
    runs = {key: Run(experiment(name, **fields)) for key, name in names.items()}
    timed: dict[str, Timed] = {**runs, "input": Input(runs["shared"])}
    turns = interleave(timed, arguments.pairs, arguments.block)

    print(machine())
    print(f"batch {arguments.batch_size}, {arguments.dtype}")
    median = {key: statistics.median(turn[key] for turn in turns) for key in timed}
    for key, run in runs.items():
        rate = arguments.batch_size / median[key]
        print(
            f"  {names[key]:14} step {median[key] * 1e3:9.2f} ms  {rate:9.1f} images/s   "
            f"compile {run.compile_seconds:6.2f} s"
        )
    print(f"  shared over unshared: step {ratio(turns, 'shared', 'plain')}")
    print(f"  input: {ratio(turns, 'input', 'shared')} of the shared step")
    if arguments.peak_tflops:
        # One forward pass, and twice that for the backward pass; the work of sharing itself does not count.
        work = 3 * describe(arguments.plain)["flops_per_example"] * arguments.batch_size
        share = work / median["shared"] / (arguments.peak_tflops * 1e12)
        print(f"  {share:.1%} of {arguments.peak_tflops} TFLOP/s")


class Input:
    """The input part of a step: batch, augmentation, normalization."""

    def __init__(self, run: Run):
        """Compiles the input part of a run's step."""
        task, config = run.experiment.task, run.experiment.config

        def inputs(fed, step):
            batch = take(fed, step, config.batch_size)
            return task.augment(stream(config.seed, "augment", step), task.inputs(batch))

        self.fed, self.inputs = run.fed, jax.jit(inputs)

    def block(self, steps: int) -> float:
        """Returns the seconds of a number of inputs."""
        start = time.perf_counter()
        for step in range(steps):
            images = self.inputs(self.fed, step)
        jax.block_until_ready(images)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
