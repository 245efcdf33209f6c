import json
import os
import shutil
import threading
import time

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from PIL import Image

from softshare_jax.config import ImageNet
from softshare_jax.data import imagenet
from softshare_jax.data.reading import read_batches
from softshare_jax.errors import UserError
from softshare_jax.training.tasks import ImageNetTask
from softshare_jax.training.tasks import imagenet as imagenet_task
from softshare_jax.training.tasks.batching import Batching
from tests import imagenet as fakes

ALL = np.arange(8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Returns a folder with 8 training and 3 test images of each of three classes."""
    return fakes.write_folder(tmp_path_factory.mktemp("imagenet"))


def task(data_dir, seed=0, **changes):
    fields = {
        "name": "imagenet2012",
        "classes": 3,
        "train_examples": 24,
        "image_size": 32,
        "resize": 36,
        "min_crop_area": 0.2,
        "label_smoothing": 0.0,
        "threads": 2,
    }
    return ImageNetTask(ImageNet(**{**fields, **changes}), str(data_dir), seed)


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_both_layouts_hold_the_same_images(folder, tmp_path, capsys):
    root = fakes.write_tfds(folder, tmp_path).parents[1]
    for split, number in (("train", 24), ("test", 9)):
        sources = [imagenet.open_split(split, str(where)) for where in (folder, root)]
        assert [len(source) for source in sources] == [number, number]
        assert [source.class_names for source in sources] == [list(fakes.CLASSES)] * 2
        # TFDS shuffles when it writes.
        found = [
            {(image.data, image.label) for image in map(source.__getitem__, range(number))}
            for source in sources
        ]
        assert found[0] == found[1]
        assert len(found[0]) == number
    (batch, *_) = task(root).batches("test", 9, np.arange(9))
    assert sorted(batch["labels"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    # An error about an invalid image names its file.
    with pytest.raises(UserError, match=r"record 100 of train in .*imagenet2012/5.1.0 cannot be read"):
        imagenet.open_split("train", str(root))[100]
    # A flipped bit in a label.
    directory = root / "imagenet2012" / "5.1.0"
    (shard,) = directory.glob("*-validation.array_record-*")
    content = bytearray(shard.read_bytes())
    content[content.index(b"label") + 11] ^= 1
    shard.write_bytes(content)
    test = imagenet.open_split("test", str(root))
    with pytest.raises(UserError, match=r"record \d of validation in .* cannot be read"):
        list(map(test.__getitem__, range(9)))
    # An older complete version wins over an incomplete one, and over a copy.
    shutil.copytree(directory, directory.with_name("5.1.0.bak"))
    shutil.copytree(directory, directory.with_name("5.10.0"))
    next((root / "imagenet2012" / "5.10.0").glob("*-validation*")).unlink()
    assert len(imagenet.open_split("train", str(root))) == 24
    assert capsys.readouterr().out.endswith(
        "imagenet2012/5.10.0 is skipped: imagenet2012-validation.array_record-00000-of-00001 is missing\n"
    )
    # No class that the directory names is imported.
    features = directory / "features.json"
    features.write_text(
        features.read_text().replace("tensorflow_datasets.core.features.text_feature", "planted")
    )
    shutil.rmtree(root / "imagenet2012" / "5.10.0")
    with pytest.raises(UserError, match=r"features.json names planted.Text, which is not a TFDS feature"):
        imagenet.open_split("train", str(root))


def test_batches_are_functions_of_seed_and_step(folder):
    # An epoch of 24 images has three batches of 7; the range is about two and a half epochs.
    seven = np.arange(7)
    whole = list(task(folder).train_batches(range(8), 7, seven))
    again = list(task(folder, threads=5).train_batches(range(8), 7, seven))
    for a, b in zip(whole, again, strict=True):
        same(a, b)
    # A run that resumes from step 5.
    for a, b in zip(whole[5:], task(folder).train_batches(range(5, 8), 7, seven), strict=True):
        same(a, b)
    other = next(task(folder, seed=1).train_batches(range(1), 7, seven))
    assert (other["images"] != whole[0]["images"]).any()


def test_shares_of_processes_make_up_the_batch(folder):
    whole = list(task(folder).train_batches(range(3), 8, ALL))
    for rows in (ALL.reshape(2, 4), ALL.reshape(4, 2), np.array([[0, 1, 6, 7], [2, 3, 4, 5]])):
        parts = [list(task(folder).train_batches(range(3), 8, part)) for part in rows]
        for step, batch in enumerate(whole):
            for part, share in zip(parts, rows, strict=True):
                same(part[step], {name: array[share] for name, array in batch.items()})


def test_an_epoch_takes_every_image_once_and_orders_differ(folder):
    # With a crop of the whole image, the resized result identifies the image.
    uncut = task(folder, min_crop_area=1.0)
    seen = [
        np.concatenate([batch["labels"] for batch in uncut.train_batches(steps, 8, ALL)])
        for steps in (range(3), range(3, 6))
    ]
    for labels in seen:
        assert sorted(labels) == sorted([0, 1, 2] * 8)
    assert (seen[0] != seen[1]).any()


def test_evaluation_sees_every_image_once_in_order_and_pads(folder):
    batches = list(task(folder).batches("test", 4, np.arange(4)))
    masks, labels = (np.concatenate([b[name] for b in batches]) for name in ("mask", "labels"))
    np.testing.assert_array_equal(masks, [True] * 9 + [False] * 3)
    np.testing.assert_array_equal(labels[masks], np.repeat([0, 1, 2], 3))
    first = task(folder).first("test", 0, 100)
    images = np.concatenate([b["images"] for b in batches])
    np.testing.assert_array_equal(first["images"], images[masks])
    # By hand: resize the shorter side to 36 and crop the central 32. Sampling positions differ slightly.
    file = sorted((folder / "val" / "n01440764").iterdir())[2]
    with Image.open(file) as image:
        width, height = (round(side * 36 / min(image.size)) for side in image.size)
        resized = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR), float)
    top, left = round((height - 32) / 2), round((width - 32) / 2)
    assert np.abs(resized[top : top + 32, left : left + 32] - images[2]).mean() < 3


def test_a_damaged_file_is_named_and_threads_end(folder, tmp_path):
    root = fakes.write_folder(tmp_path)
    bad = root / "train" / "n01443537" / "n01443537_4.JPEG"
    for content, said in ((bad.read_bytes()[:-200], "truncated"), (b"no image", "cannot identify")):
        bad.write_bytes(content)
        with pytest.raises(UserError, match=said) as caught:
            list(task(root).train_batches(range(3), 8, ALL))
        (line,) = str(caught.value).splitlines()
        assert line.startswith(f"{bad} is not a valid image (")
        assert line.endswith("): replace it")
    batches = task(folder).train_batches(range(3), 8, ALL)
    next(batches)
    batches.close()
    for thread in threading.enumerate():
        if thread.name.startswith("grain"):
            thread.join(timeout=10)
            assert not thread.is_alive()


def test_unrelated_files_beside_images_are_ignored(folder, tmp_path, capsys):
    root = tmp_path / "data"
    shutil.copytree(folder, root)
    expected = [imagenet.open_split(split, str(folder)) for split in ("train", "test")]
    one = root / "train" / fakes.CLASSES[0]
    image = next(one.iterdir()).read_bytes()
    for name in (".ipynb_checkpoints", "lost+found", "__MACOSX", "@eaDir", "#recycle", ".git", "n00~"):
        for split in ("train", "val"):
            (root / split / name).mkdir()
            (root / split / name / "n0_0.JPEG").write_bytes(image)
    for name in ("._n0_0.JPEG", ".DS_Store", "Thumbs.db", "desktop.ini", "n0_0.JPEG~", ".n0_0.JPEG.swp"):
        (one / name).write_bytes(image)
        (root / "train" / name).write_bytes(image)
    (one / "more.JPEG").mkdir()
    for split, source in zip(("train", "test"), expected, strict=True):
        found = imagenet.open_split(split, str(root))
        assert found.class_names == source.class_names
        assert [(x.data, x.label) for x in map(found.__getitem__, range(len(found)))] == [
            (x.data, x.label) for x in map(source.__getitem__, range(len(source)))
        ]
    # A class may be a link. A broken link is an error, because it would shift all later labels.
    shutil.move(one, tmp_path / "elsewhere")
    one.symlink_to(tmp_path / "elsewhere")
    assert len(imagenet.open_split("train", str(root))) == 24
    shutil.rmtree(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"{one} is a broken link"):
        imagenet.open_split("train", str(root))
    assert capsys.readouterr() == ("", "")


def test_the_advice_on_classes_names_them(folder, tmp_path):
    def said(**changes):
        imagenet_task._opened.cache_clear()
        with pytest.raises(UserError) as caught:
            task(root, **changes).prepare()
        return str(caught.value)

    root = shutil.copytree(folder, tmp_path / "data")
    assert said(classes=4) == (
        "config.data.classes is 4; the data set has 3 classes: n01440764, n01443537, n01484850; add the "
        "missing classes, remove folders that are not classes, or set --config.data.classes=3"
    )
    # A folder that is no class: empty, then in one split only, then in both.
    (root / "train" / "backup").mkdir()
    assert said().startswith(f"{root}/train/backup has no images, but every folder is a class: add files")
    shutil.copy(next((root / "train" / "n01440764").iterdir()), root / "train" / "backup")
    assert "only training has backup, only testing has none" in said()
    shutil.copytree(root / "train" / "backup", root / "val" / "backup")
    assert "has 4 classes: backup, n01440764, n01443537, n01484850; add the missing" in said()
    # Of many classes the message lists the first and the last.
    for split in ("train", "val"):
        for i in range(20):
            shutil.copytree(root / "train" / "backup", root / split / f"o{i:02}")
    assert "24 classes: backup, n01440764, n01443537, n01484850, ..., o16, o17, o18, o19;" in said()
    # The check also runs for readers that do not call prepare, such as a report.
    with pytest.raises(UserError, match=r"config.data.classes is 3; the data set has 24"):
        task(root).class_names()


def test_names_that_are_not_utf8(folder, tmp_path):
    root = shutil.copytree(folder, tmp_path / "data")
    for split in ("train", "val"):
        os.rename(root / split / "n01443537", os.fsencode(root / split) + b"/n\xe9")
    source = imagenet.open_split("train", str(root))
    assert source.class_names == ["n01440764", "n01484850", "n\\xe9"]
    image = source[23]
    assert (image.label, len(image.data) > 0) == (2, True)
    image.name.encode()
    task(root).prepare()


def test_missing_data(tmp_path, folder):
    def fails(message, **changes):
        with pytest.raises(UserError, match=message):
            task(tmp_path, **changes).prepare()

    fails(rf"imagenet2012 is not in {tmp_path}: put the folders train/CLASS/\*.JPEG .* --config.data_dir=DIR")
    (tmp_path / "val").mkdir()
    fails(f"{tmp_path}/train does not exist")
    (tmp_path / "train").mkdir()
    fails(f"{tmp_path}/train has no subfolders: sort its images into one folder per class")
    (tmp_path / "train" / "n01440764").mkdir()
    fails("train/n01440764 has no images, but every folder is a class")
    with pytest.raises(
        UserError, match=r"train_examples is 25; the data set has 24 .*--config.data.train_examples=24"
    ):
        task(folder, train_examples=25).prepare()
    with pytest.raises(UserError, match=r"config.data.classes is 4; the data set has 3 classes"):
        task(folder, classes=4).prepare()
    (tmp_path / "imagenet2012" / "5.1.0").mkdir(parents=True)
    info = tmp_path / "imagenet2012" / "5.1.0" / "dataset_info.json"
    info.write_text("{")
    fails("imagenet2012/5.1.0 cannot be read")
    info.write_text(json.dumps({"name": "imagenet2012", "version": "5.1.0", "fileFormat": "tfrecord"}))
    (info.parent / "features.json").write_text(
        json.dumps(
            {
                "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
                "featuresDict": {"features": {}},
            }
        )
    )
    fails("is in the format tfrecord, .* tfds build imagenet2012 --file_format=array_record")


def test_rows_that_a_process_holds():
    devices = np.array(jax.devices())
    for order in (devices, devices[::-1]):
        np.testing.assert_array_equal(Batching(Mesh(order, ("batch",)), 8, 0, None).local_rows(), ALL)
    half = Mesh(devices[2:], ("batch",))
    assert half.size == 2
    np.testing.assert_array_equal(Batching(half, 8, 0, None).local_rows(), ALL)


def test_reading_keeps_the_order_however_long_an_example_takes():
    def example(position):
        time.sleep(0.002 * (position % 3))
        return {"position": np.int32(position)}

    batches = list(read_batches(example, range(3, 6), 4, np.array([1, 3]), threads=4))
    np.testing.assert_array_equal([b["position"] for b in batches], [[13, 15], [17, 19], [21, 23]])
