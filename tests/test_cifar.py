"""CIFAR from archive to arrays: what is written, what is read, and what is said when something is missing."""

import contextlib
import functools
import http.server
import shutil
import threading
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from softshare_jax.data import cifar, cifar_archive
from softshare_jax.errors import UserError
from softshare_jax.training import config as config_lib
from softshare_jax.training.tasks import CifarTask
from tests import cifar as fakes
from tests import tiny

NAMES = ["cifar10", "cifar100"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Both data sets and the folder of TFDS directories they are in; tests that write there copy it."""
    root = tmp_path_factory.mktemp("tfds")
    data = {name: fakes.fake(name) for name in NAMES}
    for name in NAMES:
        assert fakes.write_directory(data[name], root) == root / name / "3.0.2"
    return data, root


def by_image(images, labels):
    """Label by the bytes of the image, which are unique: the pairing, whatever the order."""
    pairs = {image.tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    assert len(pairs) == len(labels)
    return pairs


def prepare_and_load(name, root):
    cifar.prepare(name, root)
    return cifar.load(name, root)


def mistake(name, root):
    """The one line that loading ends in, which may wait for nothing."""
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        prepare_and_load(name, str(root))
    assert time.monotonic() - start < 5
    (line,) = str(error.value).splitlines()
    return line


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
            # The id says which image of the archive it is.
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
    # The check value of CRC-32C, masked as the TFRecord format says.
    crc = 0xE3069283
    assert fakes.masked_crc(b"123456789") == ((crc >> 15) + (crc << 17) + 0xA282EAD8) % 2**32


def test_a_directory_that_is_there_is_taken_as_it_is(written, tmp_path):
    _, root = written
    shutil.copytree(root / "cifar10" / "3.0.2", tmp_path / "cifar10" / "3.0.2")
    assert cifar.find("cifar10", str(tmp_path)) == tmp_path / "cifar10" / "3.0.2"
    # Of several versions the newest, as a person counts.
    shutil.copytree(root / "cifar10" / "3.0.2", tmp_path / "cifar10" / "3.0.10")
    assert cifar.find("cifar10", str(tmp_path)) == tmp_path / "cifar10" / "3.0.10"
    assert not (tmp_path / "downloads").exists()


def test_an_archive_that_is_not_the_official_one(tmp_path):
    file, _ = fakes.write_archive(fakes.fake("cifar10"), tmp_path / "downloads")
    line = mistake("cifar10", tmp_path)
    assert line.startswith(f"{file} is damaged")
    assert line.endswith("delete it and it is fetched again")
    assert [p.name for p in tmp_path.iterdir()] == ["downloads"]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_array_record(tmp_path, written, split, kept):
    folder = shutil.copytree(written[1] / "cifar10", tmp_path / "cifar10") / "3.0.2"
    (shard,) = folder.glob(f"*-{split}.array_record-*")
    content = shard.read_bytes()
    shard.write_bytes(content[: int(kept * len(content))])
    line = mistake("cifar10", tmp_path)
    assert line.startswith(f"{folder} cannot be read (")
    assert line.endswith("delete it and it is made again from the official archive")


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_a_truncated_tfrecord(tmp_path, written, cut):
    folder = shutil.copytree(written[1] / "cifar10", tmp_path / "cifar10") / "3.0.2"
    fakes.as_tfrecord(folder, shards=2)
    shard = min(folder.glob("*-train.tfrecord-*"))
    shard.write_bytes(shard.read_bytes()[:-cut])
    line = mistake("cifar10", tmp_path)
    assert "cifar10-train.tfrecord-00000-of-00002 ends in the middle of a record" in line
    assert line.endswith("delete it and it is made again from the official archive")


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
    assert "delete it and it is made again" in line


@pytest.mark.parametrize("name", NAMES)
def test_missing_and_out_of_reach(tmp_path, monkeypatch, name):
    monkeypatch.setattr(cifar_archive, "URL", "http://127.0.0.1:9/")
    line = mistake(name, tmp_path)
    file = cifar_archive.ARCHIVES[name].file
    assert f"{name} is not in {tmp_path} and http://127.0.0.1:9/{file} cannot be reached" in line
    assert f"put {file} into {tmp_path / 'downloads'}" in line
    assert "--config.data_dir=DIR" in line
    assert [p for p in tmp_path.rglob("*") if p.name != "downloads"] == []


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    assert mistake("cifar10", tmp_path / "file").startswith(str(tmp_path / "file"))


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; the archive of CIFAR-100 breaks off half-way, that of no data set is anything else."""

    def copyfile(self, source, outputfile):
        content = source.read()
        outputfile.write(content[: len(content) // 2] if "100" in self.path else content)

    def log_message(self, *_):
        """Says nothing."""


@contextlib.contextmanager
def served(folder):
    """Serves a folder on a free port of this machine, and yields its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_archive_is_fetched_checked_and_kept(tmp_path, monkeypatch, capfd):
    data = fakes.fake("cifar10", seed=1)
    file, sha256 = fakes.write_archive(data, tmp_path / "toronto")
    with served(tmp_path / "toronto") as url, fakes.trusted("cifar10", sha256):
        monkeypatch.setattr(cifar_archive, "URL", url)
        loaded = prepare_and_load("cifar10", str(tmp_path / "data"))
    assert by_image(**loaded["train"]) == by_image(*data.splits["train"])
    assert f"fetched {url}{file.name}" in capfd.readouterr().out
    assert [p.name for p in (tmp_path / "data" / "downloads").glob("*.gz")] == [file.name]
    # From here on neither the server nor the archive is needed.
    (tmp_path / "data" / "downloads" / file.name).unlink()
    np.testing.assert_array_equal(
        cifar.load("cifar10", str(tmp_path / "data"))["test"]["images"], loaded["test"]["images"]
    )


def test_reading_fetches_nothing(tmp_path):
    # A report on a machine without the data must not wait for them.
    with pytest.raises(UserError, match=f"cifar10 is not in {tmp_path}"):
        cifar.load("cifar10", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_download_that_breaks_off(tmp_path, monkeypatch):
    _, sha256 = fakes.write_archive(fakes.fake("cifar100"), tmp_path / "toronto")
    with served(tmp_path / "toronto") as url, fakes.trusted("cifar100", sha256):
        monkeypatch.setattr(cifar_archive, "URL", url)
        line = mistake("cifar100", tmp_path / "data")
    assert f"the download of {url}cifar-100-binary.tar.gz broke off" in line
    assert line.endswith("try again")
    assert [p.name for p in (tmp_path / "data").rglob("*")] == ["downloads"]


def test_an_archive_that_the_server_has_not(tmp_path, monkeypatch):
    (tmp_path / "toronto").mkdir()
    with served(tmp_path / "toronto") as url:
        monkeypatch.setattr(cifar_archive, "URL", url)
        line = mistake("cifar10", tmp_path / "data")
        assert f"{url}cifar-10-binary.tar.gz cannot be reached (File not found)" in line


def test_the_command_without_data_and_network(tmp_path):
    nowhere = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    workdir, data = tmp_path / "run", tmp_path / "data"
    result = tiny.run(
        "main",
        "--config=configs/cifar10.py",
        f"--config.data_dir={data}",
        f"--workdir={workdir}",
        env={**nowhere, "no_proxy": ""},
    )
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: cifar10 is not in {data} and https://www.cs.toronto.edu/")
    assert line.endswith("with --config.data_dir=DIR")
    assert result.stdout == ""
    assert not workdir.exists()
    assert not (data / "cifar10").exists()


def task(root, train=12, validation=0, name="cifar10"):
    data = config_lib.Cifar(name, train, validation, cutout=0, label_smoothing=0.0)
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
        with pytest.raises(UserError, match=r"asks for 15 [+] 6 images, cifar10 has 20 for training"):
            greedy.load(split, 0)
    assert len(greedy.load("test", 0)["labels"]) == 7
