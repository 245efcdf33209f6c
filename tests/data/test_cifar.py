"""CIFAR from archives to arrays, and the messages about missing or damaged data."""

import json
import shutil
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from softshare_jax import config as config_lib
from softshare_jax.data import cifar
from softshare_jax.errors import UserError
from softshare_jax.training.tasks import CifarTask
from tests import cifar as fakes
from tests.data.loading import NAMES, by_image, mistake, prepare_and_load


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Returns both data sets and their folder of TFDS directories. Tests that write into it copy it first."""
    root = tmp_path_factory.mktemp("tfds")
    data = {name: fakes.fake(name) for name in NAMES}
    for name in NAMES:
        assert fakes.write_directory(data[name], root) == root / name / "3.0.2"
    return data, root


@pytest.mark.parametrize("name", NAMES)
def test_images_and_labels_of_the_archive_are_those_loaded(written, name):
    data, root = written
    loaded = cifar.load(name, str(root))
    assert set(loaded) == {"train", "test"}
    for split, arrays in loaded.items():
        images, labels = data[name].splits[split]
        assert (arrays["images"].shape, arrays["images"].dtype) == (images.shape, np.uint8)
        assert (arrays["labels"].shape, arrays["labels"].dtype) == (labels.shape, np.int32)
        assert by_image(**arrays) == by_image(images, labels)
    assert cifar.class_names(name, str(root)) == fakes.class_names(name)


@pytest.mark.parametrize("name", NAMES)
def test_tfds_reads_the_same_in_the_same_order(written, name):
    data, root = written
    loaded = cifar.load(name, str(root))
    builder = tfds.builder_from_directory(root / name / "3.0.2")
    assert builder.info.features["label"].names == fakes.class_names(name)
    for split, arrays in loaded.items():
        images, labels = data[name].splits[split]
        source = builder.as_data_source(split)
        assert len(source) == len(labels)
        for i, example in enumerate(source):
            np.testing.assert_array_equal(example["image"], arrays["images"][i])
            assert example["label"] == arrays["labels"][i]
            # The id gives the index in the archive.
            prefix, number = example["id"].decode().split("_")
            assert prefix == split
            np.testing.assert_array_equal(example["image"], images[int(number)])


@pytest.mark.parametrize("name", NAMES)
def test_a_directory_of_tfrecords_is_read_as_well(tmp_path, written, name):
    _, root = written
    folder = shutil.copytree(root / name, tmp_path / name) / "3.0.2"
    fakes.as_tfrecord(folder, shards=2)
    assert len(list(folder.glob("*.tfrecord-*"))) == 4
    assert not list(folder.glob("*.array_record-*"))
    expected = cifar.load(name, str(root))
    for split, arrays in cifar.load(name, str(tmp_path)).items():
        for field, array in arrays.items():
            np.testing.assert_array_equal(array, expected[split][field])


def test_the_crc_of_the_fake_tfrecords():
    # The check value of CRC-32C, masked as in the TFRecord format.
    crc = 0xE3069283
    assert fakes.masked_crc(b"123456789") == ((crc >> 15) + (crc << 17) + 0xA282EAD8) % 2**32


def test_an_existing_directory_is_used(written, tmp_path):
    _, root = written
    shutil.copytree(root / "cifar10" / "3.0.2", tmp_path / "cifar10" / "3.0.2")
    assert cifar.find("cifar10", str(tmp_path)) == tmp_path / "cifar10" / "3.0.2"
    # The newest version wins, in natural sort order.
    shutil.copytree(root / "cifar10" / "3.0.2", tmp_path / "cifar10" / "3.0.10")
    assert cifar.find("cifar10", str(tmp_path)) == tmp_path / "cifar10" / "3.0.10"
    assert not (tmp_path / "downloads").exists()


def copied(root, name, folder):
    """Copies the directory of a data set and returns the copy."""
    return shutil.copytree(root / name / "3.0.2", folder / name / "3.0.2")


def test_copies_and_damaged_versions_are_skipped(written, tmp_path, capsys):
    _, root = written
    whole = copied(root, "cifar10", tmp_path)
    for copy in ("3.0.2.bak", "3.0", "v9.9.9", "3.0.2-old", "9.9.9.incomplete", ".9.9.9"):
        (whole.parent / copy).mkdir()
        (whole.parent / copy / "dataset_info.json").write_text("{")
    (whole.parent / "9.9.9").write_text("a file")
    assert cifar.find("cifar10", str(tmp_path)) == whole
    assert capsys.readouterr().out == ""
    # Newer versions, each incomplete in its own way.
    for version, file in (("3.1.0", "dataset_info.json"), ("3.2.0", "features.json"), ("3.10.0", None)):
        newer = shutil.copytree(whole, whole.parent / version)
        (newer / file if file else next(newer.glob("*-test.array_record-*"))).unlink()
    for _ in range(2):
        loaded = prepare_and_load("cifar10", str(tmp_path))
    assert len(loaded["train"]["labels"]) == 20
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(" is skipped: ")[0] for line in said] == [
        str(whole.parent / version) for version in ("3.10.0", "3.2.0", "3.1.0")
    ]
    assert said[0].endswith(": cifar10-test.array_record-00000-of-00001 is missing")
    assert said[1].endswith(": features.json is missing")
    # If all are incomplete, the error names what the newest one lacks.
    (whole / "features.json").unlink()
    line = mistake("cifar10", tmp_path)
    assert line.startswith(f"{whole.parent / '3.10.0'} cannot be read (cifar10-test")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_class_that_a_directory_names_is_not_imported(written, tmp_path, monkeypatch, legacy):
    folder = copied(written[1], "cifar10", tmp_path / "data")
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    described = json.loads((folder / "features.json").read_text())
    feature = described["featuresDict"]["features"]["id"]
    if legacy:  # the format of TFDS before protos, nested in a quotation
        planted = {"type": "planted.Feature", "content": {}}
        feature = {
            "pythonClassName": feature["pythonClassName"],
            "jsonFeature": {"json": json.dumps(planted)},
        }
    else:
        feature = {**feature, "pythonClassName": "planted.Feature"}
    described["featuresDict"]["features"]["id"] = feature
    (folder / "features.json").write_text(json.dumps(described))
    for read in (cifar.load, cifar.class_names):
        with pytest.raises(
            UserError, match=r"features.json names planted.Feature, which is not a TFDS feature"
        ):
            read("cifar10", str(tmp_path / "data"))
    assert not (tmp_path / "ran").exists()
    assert "planted" not in sys.modules


def test_an_archive_that_is_not_the_official_one(tmp_path):
    file, _ = fakes.write_archive(fakes.fake("cifar10"), tmp_path / "downloads")
    line = mistake("cifar10", tmp_path)
    assert line.startswith(f"{file} is damaged")
    assert line.endswith("delete the file to download it again")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".cifar10.lock", "downloads"]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_array_record(tmp_path, written, split, kept):
    folder = shutil.copytree(written[1] / "cifar10", tmp_path / "cifar10") / "3.0.2"
    (shard,) = folder.glob(f"*-{split}.array_record-*")
    content = shard.read_bytes()
    shard.write_bytes(content[: int(kept * len(content))])
    line = mistake("cifar10", tmp_path)
    assert line.startswith(f"{folder} cannot be read (")
    assert line.endswith("delete it to create it again from the official archive")


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_a_truncated_tfrecord(tmp_path, written, cut):
    folder = shutil.copytree(written[1] / "cifar10", tmp_path / "cifar10") / "3.0.2"
    fakes.as_tfrecord(folder, shards=2)
    shard = min(folder.glob("*-train.tfrecord-*"))
    shard.write_bytes(shard.read_bytes()[:-cut])
    line = mistake("cifar10", tmp_path)
    assert "cifar10-train.tfrecord-00000-of-00002 ends in the middle of a record" in line
    assert line.endswith("delete it to create it again from the official archive")


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_no_flipped_bit_is_read(tmp_path, written, file_format):
    folder = copied(written[1], "cifar10", tmp_path)
    if file_format == "tfrecord":
        fakes.as_tfrecord(folder, shards=1)
    expected = cifar.load("cifar10", str(tmp_path))["test"]
    (shard,) = folder.glob(f"*-test.{file_format}-*")
    content, found = shard.read_bytes(), []
    # In the label of the first record, in a length, in a checksum, and at regular places.
    label, end = content.index(b"label") + 11, content.rindex(b"IEND")
    places = [label, 0, 8, *range(12, end, end // 25)]
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        shard.write_bytes(flipped)
        try:
            test = cifar.load("cifar10", str(tmp_path))["test"]
        except UserError as error:
            found.append(place)
            said = str(error)
        else:  # array_record has unused bytes
            assert file_format == "array_record"
            np.testing.assert_array_equal(test["labels"], expected["labels"])
            np.testing.assert_array_equal(test["images"], expected["images"])
            continue
        assert said.startswith(f"{folder} cannot be read (")
        assert file_format == "array_record" or f"{shard.name} is damaged" in said
    assert label in found
    assert found == places or (file_format == "array_record" and len(found) > 20)


@pytest.mark.parametrize(
    ("damage", "said"), [("shard", "train"), ("count", "20 of 21"), ("format", "riegeli")]
)
def test_directories_that_contradict_themselves(tmp_path, written, damage, said):
    folder = shutil.copytree(written[1] / "cifar10", tmp_path / "cifar10") / "3.0.2"
    info = folder / "dataset_info.json"
    if damage == "shard":
        next(folder.glob("*-train.array_record-*")).unlink()
    elif damage == "count":
        info.write_text(info.read_text().replace('"20"', '"21"'))
    else:
        info.write_text(info.read_text().replace("array_record", "riegeli"))
    line = mistake("cifar10", tmp_path)
    assert said in line
    assert "delete it to create it again" in line


def task(root, train=12, validation=0, name="cifar10"):
    data = config_lib.Cifar(name=name, train_examples=train, validation_examples=validation)
    return CifarTask(data, str(root))


def test_slices_of_the_task(written):
    _, root = written
    whole = cifar.load("cifar10", str(root))
    images, labels = (whole["train"][field] for field in ("images", "labels"))

    def check(batch, start, stop):
        np.testing.assert_array_equal(batch["images"], images[start:stop])
        np.testing.assert_array_equal(batch["labels"], labels[start:stop])

    held_out = task(root, train=12, validation=5)
    assert held_out.evaluated == "validation"
    check(held_out.load("train", 0), 0, 12)
    check(held_out.load("validation", 0), 15, 20)
    np.testing.assert_array_equal(held_out.load("test", 0)["images"], whole["test"]["images"])
    np.testing.assert_array_equal(held_out.load("test", 0)["labels"], whole["test"]["labels"])

    nothing_held_out = task(root, train=20)
    assert nothing_held_out.evaluated == "test"
    check(nothing_held_out.load("train", 0), 0, 20)
    assert len(nothing_held_out.load("validation", 0)["labels"]) == 0


def test_more_images_than_there_are(written):
    _, root = written
    assert len(task(root, 15, 5).load("train", 0)["labels"]) == 15
    greedy = task(root, 15, 6)
    for split in ("train", "validation"):
        with pytest.raises(UserError, match=r"is 15 [+] 6; cifar10 has only 20 training images"):
            greedy.load(split, 0)
    assert len(greedy.load("test", 0)["labels"]) == 7
