"""The digest of a data set, and what counts as official."""

import json

import numpy as np
import pytest

from softshare_jax.data import cifar, cifar_archive, identity
from tests import cifar as fakes


def splits(seed=0):
    data = fakes.fake("cifar10", seed=seed).splits
    return {split: {"images": images, "labels": labels} for split, (images, labels) in data.items()}


def test_the_digest_is_that_of_the_examples_and_not_of_their_order():
    expected = identity.digest(splits())
    shuffled = splits()
    for split in shuffled.values():
        order = np.random.default_rng(1).permutation(len(split["labels"]))
        for name in split:
            split[name] = split[name][order]
    assert identity.digest(dict(reversed(shuffled.items()))) == expected
    assert identity.digest(splits(seed=1)) != expected


@pytest.mark.parametrize("change", ["pixel", "label", "exchanged labels", "exchanged splits"])
def test_the_digest_sees_every_change(change):
    changed = splits()
    train = changed["train"]
    if change == "pixel":
        train["images"][3, 5, 7, 1] ^= 1
    elif change == "label":
        train["labels"][3] ^= 1
    elif change == "exchanged labels":
        assert train["labels"][0] != train["labels"][1]
        train["labels"][[0, 1]] = train["labels"][[1, 0]]
    else:
        changed = {"train": changed["test"], "test": train}
    assert identity.digest(changed) != identity.digest(splits())


def test_only_unchanged_images_of_the_archive_are_official(tmp_path):
    folder = fakes.write_directory(fakes.fake("cifar10"), tmp_path / "archive")
    loaded = cifar.load("cifar10", str(tmp_path / "archive"))
    found = cifar.identify("cifar10", str(tmp_path / "archive"), loaded)
    assert (found.name, found.version, found.official) == ("cifar10", "3.0.2", True)
    # The directory has another order than the archive.
    assert found.digest == identity.digest(splits())

    # A description that is copied to other images does not make them official.
    loaded["test"]["images"][0, 0, 0, 0] ^= 1
    assert not cifar.identify("cifar10", str(tmp_path / "archive"), loaded).official
    description = json.loads((folder / "dataset_info.json").read_text())["description"]
    other = splits(seed=1)
    cifar_archive.write("cifar10", description, fakes.class_names("cifar10"), other, tmp_path / "other")
    found = cifar.identify("cifar10", str(tmp_path / "other"), cifar.load("cifar10", str(tmp_path / "other")))
    assert (found.description, found.official) == (description, False)
