"""Shared code of the benchmarks: networks in training on synthetic data, timing and flags."""

import argparse
import contextlib
import os
import pathlib
import platform
import runpy
import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import jax
import numpy as np

from softshare_jax import config as config_lib
from softshare_jax.models import zoo
from softshare_jax.models.cells.genotypes import GENOTYPES
from softshare_jax.training import mesh as mesh_lib
from softshare_jax.training.experiment import Experiment, make_experiment
from softshare_jax.training.tasks.batching import Fed

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


class Timed(Protocol):
    """Something whose steps can be timed."""

    def block(self, steps: int) -> float:
        """Returns the seconds of a number of steps."""


def experiment(model: str, **fields: Any) -> Experiment:
    """Returns the experiment of the shipped config for a network: CIFAR-10, cells or shortest paths.

    Images have cutout, and grids are few, since generating more would only take time.

    Args:
        model: name of a network.
        fields: fields of the config to change, with ``__`` for dots.
    """
    network = zoo.named(model)
    if network.classifies:
        file, variant = "cells" if network.unshared.startswith(tuple(GENOTYPES)) else "cifar10", model
        fields = {"data__cutout": 16, **fields}
    else:
        file, variant = "shortest_paths", "scnn"
        fields = {"data__windows": (5,), "data__train_examples": 1000, **fields}
    config = runpy.run_path(str(CONFIGS / f"{file}.py"))["get_config"](variant)
    config.model = model
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return make_experiment(config_lib.from_dict(config.to_dict()))


class Run:
    """A network in training with its compiled train step.

    Attributes:
        experiment: experiment of the run.
        fed: synthetic examples in random order.
        state, metrics: after the steps so far; ``block`` makes the first state.
        trace_seconds: seconds to trace and lower the step.
        compile_seconds: seconds to compile the step.
        cached: whether jax had compiled the step before and read it from its cache.
    """

    def __init__(self, experiment: Experiment):
        """Compiles the train step."""
        self.experiment = experiment
        number = experiment.config.data.train_examples
        shape = (number, *experiment.task.input_shape)
        draw = np.random.default_rng(0)
        labels = shape[:-1] if experiment.task.classes is None else (number,)
        kind = np.uint8 if experiment.task.classes is None else np.int32
        data = {
            "images": draw.integers(0, 256, shape, np.uint8),
            "labels": draw.integers(0, 2, labels, kind),
        }
        self.state: Any = None
        order = draw.permutation(number).astype(np.int32)
        self.fed: Fed = mesh_lib.place(experiment.mesh, Fed(data, order))  # type: ignore[arg-type]
        self.metrics = experiment.programs.no_metrics()
        start = time.perf_counter()
        state = experiment.programs.state_shapes()
        lowered = experiment.programs.train_steps.lower(state, self.metrics, self.fed, 1)
        self.trace_seconds = time.perf_counter() - start
        start = time.perf_counter()
        with _cache_hits() as hits:
            self.step = lowered.compile()
        self.compile_seconds, self.cached = time.perf_counter() - start, bool(hits)

    def block(self, steps: int) -> float:
        """Returns the seconds of a number of steps."""
        if self.state is None:
            self.state = self.experiment.programs.init_state()
        most = self.experiment.steps_per_dispatch
        start = time.perf_counter()
        for done in range(0, steps, most):
            count = min(most, steps - done)
            self.state, self.metrics = self.step(self.state, self.metrics, self.fed, count)
        jax.block_until_ready(self.state)
        return time.perf_counter() - start


@contextlib.contextmanager
def _cache_hits() -> Iterator[list[str]]:
    """Yields a list that has an entry for each program that jax reads from its cache in the block."""
    hits: list[str] = []

    def listen(event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            hits.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield hits
    finally:
        jax.monitoring.unregister_event_listener(listen)


def interleave(runs: Mapping[str, Timed], pairs: int, block: int) -> list[dict[str, float]]:
    """Times blocks of steps of several runs in turns, after one warm-up block each.

    Ratios of neighboring blocks are robust on a machine whose speed drifts.
    """
    for run in runs.values():
        run.block(block)
    return [{name: run.block(block) / block for name, run in runs.items()} for _ in range(pairs)]


def ratio(turns: list[dict[str, float]], over: str, under: str) -> str:
    """Returns the median and quartiles of the ratio of two runs' times."""
    ratios = sorted(turn[over] / turn[under] for turn in turns)
    quarter = len(ratios) // 4
    return (
        f"{statistics.median(ratios):.3f} (quartiles {ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f}, "
        f"{len(ratios)} pairs of blocks)"
    )


def machine() -> str:
    """Describes the machine in one line."""
    device = jax.devices()[0]
    return f"{device.device_kind} ({platform.machine()}, {os.cpu_count()} CPU cores), jax {jax.__version__}"


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the common flags of the benchmarks."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--batch_size", type=int, default=128)
    made.add_argument("--dtype", default="float32", help="float32 or bfloat16")
    made.add_argument("--pairs", type=int, default=20, help="pairs of blocks")
    made.add_argument("--block", type=int, default=5, help="steps per block")
    return made
