"""CIFAR-10 and CIFAR-100 with the paper's augmentation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from softshare_jax import config as config_lib
from softshare_jax.data import augmentation, cifar
from softshare_jax.data.identity import DataSet
from softshare_jax.errors import UserError
from softshare_jax.training.metrics import ClassMetrics
from softshare_jax.training.tasks.losses import cross_entropy
from softshare_jax.training.tasks.task import Batch, ResidentTask, Split

PADDING = 4
# Several tasks of a process, as in a report on several runs, decode a data set once.
_decoded = functools.lru_cache(maxsize=1)(cifar.load)


class CifarTask(ResidentTask):
    """Image classification with random flips, shifts of up to 4 pixels and, if configured, cutout.

    With a validation split in the config, training evaluates that split, and the test split only at the end.
    """

    score = "accuracy"
    metrics = ClassMetrics
    input_shape = (32, 32, 3)

    def __init__(self, data: config_lib.Cifar, data_dir: str):
        self._data, self._data_dir = data, data_dir
        self._facts = cifar.CIFARS[data.name]
        self.classes = self._facts.classes
        self.train_examples = data.train_examples
        self.evaluated = "validation" if data.validation_examples else "test"

    def prepare(self) -> None:
        """Reads the data set, and downloads it if it is missing.

        Raises:
            UserError: it is not available, or has fewer images than the config requires.
        """
        cifar.prepare(self._data.name, self._data_dir)
        self._arrays("train")

    def phase_name(self, phase: int) -> str:
        """Returns the name of the data set."""
        del phase
        return self._data.name

    def data_set(self) -> DataSet:
        """Returns what the images of the data folder are.

        Raises:
            UserError: the data set is missing, or its files cannot be read.
        """
        splits = _decoded(self._data.name, self._data_dir)
        return cifar.identify(self._data.name, self._data_dir, splits)

    def class_names(self) -> list[str]:
        """Returns the names of the classes, by label."""
        return cifar.class_names(self._data.name, self._data_dir)

    @functools.lru_cache(maxsize=3)  # noqa: B019 (a task lives as long as its process)
    def load(self, split: Split, phase: int) -> Batch:
        """Returns ``images`` ``[N, 32, 32, 3]`` uint8 and ``labels`` ``[N]`` int32.

        The training images are the first of the training split, the validation images its last.

        Raises:
            UserError: the data set is missing, or has fewer images than the config requires.
        """
        del phase
        return {name: jnp.asarray(array) for name, array in self._arrays(split).items()}

    def _arrays(self, split: Split) -> dict[str, np.ndarray]:
        """Returns a split in host memory."""
        arrays = _decoded(self._data.name, self._data_dir)["test" if split == "test" else "train"]
        number, held_out = self._data.train_examples, self._data.validation_examples
        there = len(arrays["labels"])
        if split != "test" and number + held_out > there:
            raise UserError(
                f"config.data.train_examples + validation_examples is {number} + {held_out}; "
                f"{self._data.name} has only {there} training images"
            )
        chosen = {"train": slice(number), "validation": slice(there - held_out, None), "test": slice(None)}
        return {name: array[chosen[split]] for name, array in arrays.items()}

    def inputs(self, batch: Batch) -> jax.Array:
        """Returns normalized images, ``[B, 32, 32, 3]`` float32."""
        return augmentation.normalize(batch["images"], self._facts.mean, self._facts.std)

    def augment(self, key: jax.Array, inputs: jax.Array) -> jax.Array:
        """Flips and shifts normalized images at random, with cutout if configured."""
        flip, crop, hole = jax.random.split(key, 3)
        black = -jnp.array(self._facts.mean) / jnp.array(self._facts.std)
        # The authors pad with black before they normalize.
        shifted = augmentation.crop(crop, augmentation.flip(flip, inputs), PADDING, black)
        if self._data.cutout:
            shifted = augmentation.cutout(hole, shifted, self._data.cutout)
        return shifted

    def loss(self, logits: jax.Array, batch: Batch, train: bool = False) -> jax.Array:
        """Returns the cross-entropy of each example ``[B]`` in nats, with smoothed labels in training."""
        return cross_entropy(logits, batch["labels"], self._data.label_smoothing if train else 0.0)
