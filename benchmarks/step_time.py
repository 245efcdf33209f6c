"""What soft sharing costs: step time and compile time of SCNN over CNN of one shape.

    python benchmarks/step_time.py

The two take turns, a block of steps each, in one process; the ratio is the median over pairs of
neighbouring blocks, which a machine whose speed drifts leaves alone.
"""

import argparse
import os
import pathlib
import platform
import runpy
import statistics
import time

import jax

from softshare_jax.training import config as config_lib
from softshare_jax.training.experiment import Experiment

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="10-24", help="DEPTH-CHANNELS")
    parser.add_argument("--side", type=int, default=16, help="pixels per side of the grid")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=30, help="pairs of blocks")
    parser.add_argument("--block", type=int, default=10, help="steps in a block")
    arguments = parser.parse_args()
    # Compile times are measured without a cache.
    jax.config.update("jax_enable_compilation_cache", False)

    runs = {name: Run(f"{name}-{arguments.network}", arguments) for name in ("cnn", "scnn")}
    for run in runs.values():
        run.block(arguments.block)
    pairs = [{name: run.block(arguments.block) for name, run in runs.items()} for _ in range(arguments.pairs)]

    device = jax.devices()[0]
    print(f"{device.device_kind} ({platform.machine()}, {os.cpu_count()} CPU cores), jax {jax.__version__}")
    print(f"network {arguments.network}, {arguments.side}x{arguments.side}, batch {arguments.batch_size}")
    for name, run in runs.items():
        step = statistics.median(pair[name] for pair in pairs) / arguments.block
        print(f"  {name:4}  step {step * 1e3:8.2f} ms   compile {run.compile_seconds:6.2f} s")
    ratios = sorted(pair["scnn"] / pair["cnn"] for pair in pairs)
    quarter = len(ratios) // 4
    print(
        f"  SCNN over CNN: step {statistics.median(ratios):.3f} "
        f"(quartiles {ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f}, {len(ratios)} pairs of blocks), "
        f"compile {runs['scnn'].compile_seconds / runs['cnn'].compile_seconds:.2f}"
    )


class Run:
    """A network in training, on the ordinary train step."""

    def __init__(self, model: str, arguments: argparse.Namespace):
        """Initialises and compiles; how long the latter took is in ``compile_seconds``."""
        config = runpy.run_path(str(CONFIGS / "shortest_paths.py"))["get_config"]("scnn")
        config.model = model
        config.data.side = arguments.side
        config.batch_size = arguments.batch_size
        config.data.windows = (5,)
        config.data.train_examples = 1000
        self.experiment = Experiment(config_lib.from_dict(config.to_dict()))
        self.data, self.order = self.experiment.train_data(0), self.experiment.epoch_order(0)
        self.state, self.metrics = self.experiment.init_state(), self.experiment.task.metrics.empty()
        start = time.perf_counter()
        arguments_of_a_step = (self.state, self.metrics, self.data, self.order, 1)
        self.step = self.experiment.train_steps.lower(*arguments_of_a_step).compile()
        self.compile_seconds = time.perf_counter() - start

    def block(self, steps: int) -> float:
        """Returns the seconds that so many steps take."""
        start = time.perf_counter()
        for _ in range(steps):
            self.state, self.metrics = self.step(self.state, self.metrics, self.data, self.order, 1)
        jax.block_until_ready(self.state)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
