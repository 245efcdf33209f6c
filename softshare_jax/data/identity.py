"""What a data set is: the description that came with it, and a digest of all its images and labels."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

# The archives that the authors of CIFAR publish.
ARCHIVE_FILES = {"cifar10": "cifar-10-binary.tar.gz", "cifar100": "cifar-100-binary.tar.gz"}


class DataSet(NamedTuple):
    """The identity of a data set.

    Attributes:
        name, version: as in its folder, such as ``'cifar10'`` and ``'3.0.2'``.
        description: the sentence that is stored with the images.
        digest: see ``digest``.
        official: whether these are the images of the archive of its authors.
    """

    name: str
    version: str
    description: str
    digest: str
    official: bool


def digest(splits: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Returns a digest of all images and labels, in hexadecimal.

    It does not depend on the order of a split: TFDS shuffles when it writes, so the same images may have
    several orders. It is the SHA-256 of, for each split in the order of names, its name and the sorted
    SHA-256 of its examples: the pixels and the label, an int32 with its lowest byte first.

    Args:
        splits: ``images`` ``[N, ...]`` uint8 and ``labels`` ``[N]`` of each split.
    """
    whole = hashlib.sha256()
    for name, split in sorted(splits.items()):
        labels = np.asarray(split["labels"], "<i4")
        pairs = zip(np.ascontiguousarray(split["images"]), labels, strict=True)
        each = sorted(hashlib.sha256(image.tobytes() + label.tobytes()).digest() for image, label in pairs)
        whole.update(name.encode() + b"".join(each))
    return whole.hexdigest()


def official_description(name: str, digest: str) -> str:
    """Returns the description of CIFAR-10 or CIFAR-100 that was made from the archive of its authors.

    It quotes the digest, so it does not fit other images to which it is copied.
    """
    return f"{name} from the official {ARCHIVE_FILES[name]}. Digest of all images and labels: {digest}."
