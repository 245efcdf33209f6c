"""Throughput of the input pipeline of ImageNet: reading, decoding, cropping and batching.

    python -m benchmarks.speed.input_rate --cores 1 2

The images are synthetic: JPEGs of 500x375 pixels at quality 90, with the file size of ImageNet. The process
is bound to the given number of cores, with one thread each. Images per second of processor time is the rate
of a core without other load, so compare that number on a shared machine.
"""

import argparse
import os
import pathlib
import platform
import statistics
import tempfile
import time

import numpy as np
from PIL import Image

from softshare_jax.config import ImageNet
from softshare_jax.training.tasks import ImageNetTask

# ImageNet's files have 110 kB on average.
QUALITY, NOISE = 90, 18
# Warm-up batches: as many as are read ahead.
WARM = 4


def main() -> None:
    """Measures and prints a table."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    flags.add_argument("--images", type=int, default=1024, help="files per split")
    flags.add_argument("--batch_size", type=int, default=64)
    flags.add_argument("--batches", type=int, default=8, help="batches per turn")
    flags.add_argument("--turns", type=int, default=5)
    arguments = flags.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        size = write(root, arguments.images)
        print(f"{platform.machine()}, {os.cpu_count()} CPU cores; files of {size / 1000:.0f} kB on average")
        print("| cores | split | images/s | images per second of processor time |\n|---|---|---|---|")
        turns: dict[tuple[int, str], list[tuple[float, float]]] = {}
        for _ in range(arguments.turns):
            for cores in arguments.cores:
                for split in ("train", "test"):
                    rate = measure(root, split, cores, arguments)
                    turns.setdefault((cores, split), []).append(rate)
    for (cores, split), found in turns.items():
        cells = [
            f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"
            for rates in zip(*found, strict=True)
        ]
        print(f"| {cores} | {split} | {' | '.join(cells)} |")


def write(root: pathlib.Path, number: int) -> float:
    """Writes synthetic images for both splits and returns their mean size in bytes."""
    random = np.random.default_rng(0)
    sizes = []
    for i in range(number):
        width, height = (500, 375) if i % 4 else (375, 500)
        coarse = Image.fromarray(random.integers(0, 256, (24, 24, 3), np.uint8))
        pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        pixels = np.clip(pixels + random.normal(0, NOISE, pixels.shape), 0, 255).astype(np.uint8)
        for split in ("train", "val"):
            file = root / split / f"class_{i % 2}" / f"{i}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file, quality=QUALITY)
        sizes.append(file.stat().st_size)
    return statistics.mean(sizes)


def measure(root: pathlib.Path, split: str, cores: int, arguments: argparse.Namespace) -> tuple[float, float]:
    """Returns images per second of wall-clock time and of processor time on some cores, after a warm-up."""
    available = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(available)[:cores])
    try:
        size = arguments.batch_size
        data = ImageNet(classes=2, train_examples=arguments.images, threads=cores)
        task, rows = ImageNetTask(data, str(root), 0), np.arange(size)
        if split == "train":
            batches = task.train_batches(range(1_000_000), size, rows)
        else:
            batches = task.batches("test", size, rows)
        # The batches read ahead at the start and at the end of the timing cancel out.
        for _ in range(WARM):
            next(batches)
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(arguments.batches):
            next(batches)
        number = arguments.batches * size
        rates = number / (time.perf_counter() - wall), number / (time.process_time() - processor)
        batches.close()
        return rates
    finally:
        os.sched_setaffinity(0, available)


if __name__ == "__main__":
    main()
