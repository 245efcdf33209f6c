"""What the benchmarks time: our train step and PyTorch's, on made-up data."""

import argparse
import os
import pathlib
import platform
import runpy
import statistics
import time
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import numpy as np

from softshare_jax import config as config_lib
from softshare_jax.models import zoo
from softshare_jax.models.cells.genotypes import GENOTYPES
from softshare_jax.training.experiment import Experiment, make_experiment
from softshare_jax.training.tasks.batching import Fed

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


class Timed(Protocol):
    """Something whose steps take time."""

    def block(self, steps: int) -> float:
        """Returns the seconds that so many steps take."""


def experiment(model: str, **fields: Any) -> Experiment:
    """Returns the experiment of a shipped config: CIFAR-10, cells or shortest paths, as the network has it.

    Args:
        model: name of a network.
        fields: of the config, ``__`` for dots.
    """
    network = zoo.named(model)
    file, variant = ("cifar10", model) if network.classifies else ("shortest_paths", "scnn")
    if network.unshared.startswith(tuple(GENOTYPES)):
        file = "cells"
    config = runpy.run_path(str(CONFIGS / f"{file}.py"))["get_config"](variant)
    config.model = model
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return make_experiment(config_lib.from_dict(config.to_dict()))


class Run:
    """A network in training, on the ordinary train step; how long it took to compile is kept.

    Attributes:
        experiment: of the run.
        fed: made-up examples in an order.
        trace_seconds: to trace and lower the step.
        compile_seconds: to compile it.
    """

    def __init__(self, experiment: Experiment):
        """Initialises and compiles."""
        self.experiment = experiment
        number = experiment.config.data.train_examples
        shape = (number, *experiment.task.input_shape)
        draw = np.random.default_rng(0)
        labels = shape[:-1] if experiment.task.classes is None else (number,)
        kind = np.uint8 if experiment.task.classes is None else np.int32
        data = {
            "images": jax.numpy.asarray(draw.integers(0, 256, shape, np.uint8)),
            "labels": jax.numpy.asarray(draw.integers(0, 2, labels, kind)),
        }
        order = jax.random.permutation(jax.random.key(0), number)
        self.fed = Fed(data, order)
        self.metrics = experiment.task.metrics.empty()
        start = time.perf_counter()
        state = experiment.programs.state_shapes()
        lowered = experiment.programs.train_steps.lower(state, self.metrics, self.fed, 1)
        self.trace_seconds = time.perf_counter() - start
        start = time.perf_counter()
        self.step = lowered.compile()
        self.compile_seconds = time.perf_counter() - start

    def block(self, steps: int) -> float:
        """Returns the seconds that so many steps take."""
        if not hasattr(self, "state"):
            self.state = self.experiment.programs.init_state()
        start = time.perf_counter()
        for _ in range(steps):
            self.state, self.metrics = self.step(self.state, self.metrics, self.fed, 1)
        jax.block_until_ready(self.state)
        return time.perf_counter() - start


def interleave(runs: Mapping[str, Timed], pairs: int, block: int) -> list[dict[str, float]]:
    """Lets runs take turns, a block of steps each, after one block to warm up.

    The ratio of neighbouring blocks is what a machine whose speed drifts leaves alone.
    """
    for run in runs.values():
        run.block(block)
    return [{name: run.block(block) / block for name, run in runs.items()} for _ in range(pairs)]


def ratio(turns: list[dict[str, float]], over: str, under: str) -> str:
    """Returns the median ratio of two runs' times with its quartiles."""
    ratios = sorted(turn[over] / turn[under] for turn in turns)
    quarter = len(ratios) // 4
    return (
        f"{statistics.median(ratios):.3f} (quartiles {ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f}, "
        f"{len(ratios)} pairs of blocks)"
    )


def machine() -> str:
    """Returns a line that says what this ran on."""
    device = jax.devices()[0]
    return f"{device.device_kind} ({platform.machine()}, {os.cpu_count()} CPU cores), jax {jax.__version__}"


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the flags that all benchmarks have."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--batch_size", type=int, default=128)
    made.add_argument("--dtype", default="float32", help="float32 or bfloat16")
    made.add_argument("--pairs", type=int, default=20, help="pairs of blocks")
    made.add_argument("--block", type=int, default=5, help="steps in a block")
    return made
