"""Prepares and loads CIFAR."""

import time

import pytest

from softshare_jax.data import cifar
from softshare_jax.errors import UserError

NAMES = ["cifar10", "cifar100"]


def by_image(images, labels):
    """Returns the labels by the bytes of their images, which are unique."""
    pairs = {image.tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    assert len(pairs) == len(labels)
    return pairs


def prepare_and_load(name, root):
    """Prepares a data set in a folder, if it is not there, and returns it."""
    cifar.prepare(name, root)
    return cifar.load(name, root)


def mistake(name, root):
    """Returns the error line of loading, which must not wait for the network."""
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        prepare_and_load(name, str(root))
    assert time.monotonic() - start < 5
    (line,) = str(error.value).splitlines()
    return line
