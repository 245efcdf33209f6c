"""ImageNet, or images in the same layout, with the usual augmentation."""

import functools
from collections.abc import Callable, Generator, Sequence
from typing import Any

import jax
import numpy as np

from softshare_jax import config as config_lib
from softshare_jax.data import augmentation, imagenet, jpeg
from softshare_jax.data.reading import HostBatch, read_batches
from softshare_jax.data.source import Source
from softshare_jax.errors import UserError
from softshare_jax.training.metrics import TopMetrics
from softshare_jax.training.randomness import host_stream
from softshare_jax.training.tasks.losses import cross_entropy
from softshare_jax.training.tasks.task import Batch, Split, StreamedTask

# That a message lists from each end.
MOST_NAMES = 4
# Listing a million files takes seconds: the tasks of one process do it once.
_opened = functools.lru_cache(maxsize=2)(imagenet.open_split)


class ImageNetTask(StreamedTask):
    """Image classification: a random part of each image, resized and mirrored at random.

    The host reads, cuts and resizes; the device normalises and mirrors inside the jitted step.
    """

    score = "accuracy"
    metrics = TopMetrics

    def __init__(self, data: config_lib.ImageNet, data_dir: str, seed: int):
        self._data, self._data_dir, self._seed = data, data_dir, seed
        self.classes = data.classes
        self.input_shape = (data.image_size, data.image_size, 3)

    def prepare(self) -> None:
        """Makes sure that the images are there.

        Raises:
            UserError: they are not, or they are not what the config says.
        """
        names = [_opened(split, self._data_dir).class_names for split in ("train", "test")]
        if names[0] != names[1]:
            alone = [_listed(sorted(set(names[i]) - set(names[1 - i]))) for i in (0, 1)]
            raise UserError(
                f"the classes of the two splits are not the same: only training has {alone[0]}, only testing "
                f"has {alone[1]}; labels count the classes: complete them, or remove what is no class"
            )
        expected, there = self._data.train_examples, len(self._source("train"))
        if there != expected:
            raise UserError(
                f"config.data.train_examples is {expected}, and there are {there} images for training: "
                f"complete them, or say --config.data.train_examples={there}"
            )

    def phase_name(self, phase: int) -> str:
        """Returns the name of the data set."""
        del phase
        return self._data.name

    def class_names(self) -> list[str]:
        """Returns what the classes are called, by label: numbers of WordNet."""
        return self._source("test").class_names

    def size(self, split: Split, phase: int) -> int:
        """Returns the number of images of a split."""
        del phase
        return len(self._source(split))

    def train_batches(self, steps: range, batch_size: int, rows: np.ndarray) -> Generator[HostBatch]:
        """Yields ``images`` ``[b, H, W, 3]`` uint8 and ``labels`` ``[b]`` int32.

        Each epoch has an order of its own, from which whole batches are taken. The order is a function
        of the seed and the epoch, the part of an image of the seed and its position in the run.
        """
        source, number = self._source("train"), self._data.train_examples
        taken = number // batch_size * batch_size

        @functools.lru_cache(maxsize=2)
        def order(epoch: int) -> np.ndarray:
            return host_stream(self._seed, "order", epoch).permutation(number)

        def example(position: int) -> dict[str, Any]:
            epoch, place = divmod(position, taken)
            random = host_stream(self._seed, "crop", position)

            def choose(width: int, height: int) -> jpeg.Box:
                return jpeg.random_box(random, width, height, self._data.min_crop_area)

            return self._decode(source[int(order(epoch)[place])], choose)

        return read_batches(example, steps, batch_size, rows, self._data.threads)

    def batches(self, split: Split, batch_size: int, rows: np.ndarray) -> Generator[HostBatch]:
        """Yields the middle of every image of a split once, with ``mask``."""
        source = self._source(split)
        share = self._data.image_size / self._data.resize

        def choose(width: int, height: int) -> jpeg.Box:
            return jpeg.central_box(width, height, share)

        def example(position: int) -> dict[str, Any]:
            if position < len(source):
                return {**self._decode(source[position], choose), "mask": np.bool_(True)}
            image = np.zeros(self.input_shape, np.uint8)
            return {"images": image, "labels": np.int32(0), "mask": np.bool_(False)}

        number = -(-len(source) // batch_size)
        return read_batches(example, range(number), batch_size, rows, self._data.threads)

    def inputs(self, batch: Batch) -> jax.Array:
        """Returns normalised images, ``[B, H, W, 3]`` float32."""
        return augmentation.normalize(batch["images"], imagenet.MEAN, imagenet.STD)

    def augment(self, key: jax.Array, inputs: jax.Array) -> jax.Array:
        """Mirrors normalised images at random."""
        return augmentation.flip(key, inputs)

    def loss(self, logits: jax.Array, batch: Batch, train: bool = False) -> jax.Array:
        """Returns the cross-entropy of each example ``[B]`` in nats, with smoothed labels in training."""
        return cross_entropy(logits, batch["labels"], self._data.label_smoothing if train else 0.0)

    def _decode(self, image: imagenet.Encoded, choose: Callable[[int, int], jpeg.Box]) -> dict[str, Any]:
        pixels = jpeg.decode(image.data, image.name, choose, self._data.image_size)
        return {"images": pixels, "labels": np.int32(image.label)}

    def _source(self, split: Split) -> Source:
        """Returns the images of a split, which have the classes that the network has."""
        source = _opened("train" if split == "train" else "test", self._data_dir)
        if (there := len(source.class_names)) != self.classes:
            raise UserError(
                f"config.data.classes is {self.classes}, and there are {there} classes: "
                f"{_listed(source.class_names)}; complete them or remove what is no class, or say "
                f"--config.data.classes={there} if all of them are meant"
            )
        return source


def _listed(names: Sequence[str]) -> str:
    """Returns names for a message, of many the first and the last: what is no class is often there."""
    if len(names) > 2 * MOST_NAMES:
        names = [*names[:MOST_NAMES], "...", *names[-MOST_NAMES:]]
    return ", ".join(names) or "none"
