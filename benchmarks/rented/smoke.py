"""A tiny data set in the form of CIFAR-10, so that a smoke run needs no download."""

import pathlib

import numpy as np

from benchmarks.rented.rows import TINY
from softshare_jax.data import cifar, cifar_archive

ROWS = ("swrn-16-1-1-cutout", "wrn-16-1-cutout")
EPOCHS, MINUTES = 2, 6.0
# For XLA: a smoke run compiles much and computes little.
COMPILE_FAST = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
DESCRIPTION = "Random pixels with random labels, made up for a smoke run."


def write_data(root: pathlib.Path) -> pathlib.Path:
    """Writes random images as a data set that says so, unless it is there; returns the folder."""
    if (root / "cifar10").exists():
        return root
    root.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    sizes: dict[str, int] = {"train": TINY["data.train_examples"], "test": 16}
    splits = {
        split: {
            "images": random.integers(0, 256, (number, *cifar.SHAPE), np.uint8),
            "labels": random.integers(0, 10, number, np.int32),
        }
        for split, number in sizes.items()
    }
    names = [f"class_{label}" for label in range(10)]
    cifar_archive.write("cifar10", DESCRIPTION, names, splits, root)
    return root
