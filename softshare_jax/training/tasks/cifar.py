"""CIFAR-10 and CIFAR-100 with the paper's augmentation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from softshare_jax import config as config_lib
from softshare_jax.data import augmentation, cifar
from softshare_jax.errors import UserError
from softshare_jax.training.metrics import ClassMetrics
from softshare_jax.training.tasks.losses import cross_entropy
from softshare_jax.training.tasks.task import Batch, ResidentTask, Split

PADDING = 4
# The tasks of one process, such as those of a report on several runs, decode a data set once.
_decoded = functools.lru_cache(maxsize=1)(cifar.load)


class CifarTask(ResidentTask):
    """Image classification: mirrored, shifted by up to 4 pixels, and with a hole where the config says so.

    Where the config holds images out, they are what is measured during training, and the test
    split is left for the end.
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
        """Reads the data set, and fetches it where it is missing.

        Raises:
            UserError: it cannot be had, or has fewer images than the config asks for.
        """
        cifar.prepare(self._data.name, self._data_dir)
        self._arrays("train")

    def phase_name(self, phase: int) -> str:
        """Returns the name of the data set."""
        del phase
        return self._data.name

    def class_names(self) -> list[str]:
        """Returns what the classes are called, by label."""
        return cifar.class_names(self._data.name, self._data_dir)

    @functools.lru_cache(maxsize=3)  # noqa: B019 (a task lives as long as its process)
    def load(self, split: Split, phase: int) -> Batch:
        """Returns ``images`` ``[N, 32, 32, 3]`` uint8 and ``labels`` ``[N]`` int32.

        The training images are the first of the training split and those held out its last.

        Raises:
            UserError: the data set is not there, or has fewer images than the config asks for.
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
                f"config.data asks for {number} + {held_out} images, "
                f"{self._data.name} has {there} for training"
            )
        chosen = {"train": slice(number), "validation": slice(there - held_out, None), "test": slice(None)}
        return {name: array[chosen[split]] for name, array in arrays.items()}

    def inputs(self, batch: Batch) -> jax.Array:
        """Returns normalised images, ``[B, 32, 32, 3]`` float32."""
        return augmentation.normalize(batch["images"], self._facts.mean, self._facts.std)

    def augment(self, key: jax.Array, inputs: jax.Array) -> jax.Array:
        """Mirrors and shifts normalised images, and cuts a hole where the config says so."""
        flip, crop, hole = jax.random.split(key, 3)
        black = -jnp.array(self._facts.mean) / jnp.array(self._facts.std)
        # The authors pad before they normalise, with black.
        shifted = augmentation.crop(crop, augmentation.flip(flip, inputs), PADDING, black)
        if self._data.cutout:
            shifted = augmentation.cutout(hole, shifted, self._data.cutout)
        return shifted

    def loss(self, logits: jax.Array, batch: Batch, train: bool = False) -> jax.Array:
        """Returns the cross-entropy of each example ``[B]`` in nats, with smoothed labels in training."""
        return cross_entropy(logits, batch["labels"], self._data.label_smoothing if train else 0.0)
