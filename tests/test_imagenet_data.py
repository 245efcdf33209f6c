import io
import json
import math
import threading
import time

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from PIL import Image

from softshare_jax.data import imagenet, jpeg
from softshare_jax.data.reading import read_batches
from softshare_jax.errors import UserError
from softshare_jax.training.config import ImageNet
from softshare_jax.training.streaming import local_rows
from softshare_jax.training.tasks import ImageNetTask
from tests import imagenet as fakes

ALL = np.arange(8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folders of 8 images for training and 3 for testing, of each of three classes."""
    return fakes.write_folder(tmp_path_factory.mktemp("imagenet"))


def task(data_dir, seed=0, **changes):
    fields = {
        "name": "imagenet2012",
        "classes": 3,
        "train_examples": 24,
        "image_size": 32,
        "resize": 36,
        "least_area": 0.2,
        "label_smoothing": 0.0,
        "threads": 2,
    }
    return ImageNetTask(ImageNet(**{**fields, **changes}), str(data_dir), seed)


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_both_layouts_hold_the_same_images(folder, tmp_path):
    root = fakes.write_tfds(folder, tmp_path).parents[1]
    for split, number in (("train", 24), ("test", 9)):
        sources = [imagenet.open_split(split, str(where)) for where in (folder, root)]
        assert [len(source) for source in sources] == [number, number]
        assert [source.class_names for source in sources] == [list(fakes.CLASSES)] * 2
        # TFDS shuffles as it writes.
        found = [
            {(image.data, image.label) for image in map(source.__getitem__, range(number))}
            for source in sources
        ]
        assert found[0] == found[1]
        assert len(found[0]) == number
    (batch, *_) = task(root).batches("test", 9, np.arange(9))
    assert sorted(batch["labels"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    # A record that is no image names its file.
    with pytest.raises(UserError, match=r"record 100 of train in .*imagenet2012/5.1.0 cannot be read"):
        imagenet.open_split("train", str(root))[100]


def test_batches_are_functions_of_seed_and_step(folder):
    # Three steps of 7 in an epoch of 24; two and a half epochs.
    seven = np.arange(7)
    whole = list(task(folder).train_batches(range(8), 7, seven))
    again = list(task(folder, threads=5).train_batches(range(8), 7, seven))
    for a, b in zip(whole, again, strict=True):
        same(a, b)
    # A run that goes on from step 5.
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
    # Without cutting: a crop of the whole image tells which one it is, up to its resizing.
    uncut = task(folder, least_area=1.0)
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
    # By hand: the shorter side is resized to 36 and the middle 32 cut out; that samples a little elsewhere.
    file = sorted((folder / "val" / "n01440764").iterdir())[2]
    with Image.open(file) as image:
        width, height = (round(side * 36 / min(image.size)) for side in image.size)
        resized = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR), float)
    top, left = round((height - 32) / 2), round((width - 32) / 2)
    assert np.abs(resized[top : top + 32, left : left + 32] - images[2]).mean() < 3


def test_parts_of_images():
    random = np.random.default_rng(0)
    boxes = np.array([jpeg.random_box(random, 500, 375, 0.08) for _ in range(2000)])
    pixels = boxes * [500, 375, 500, 375]
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-9)
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    widths, heights = (boxes[:, 2:] - boxes[:, :2]).T
    ratios = widths * 500 / (heights * 375)
    assert 0.73 < ratios.min() < 0.77
    assert 1.30 < ratios.max() < 1.36
    areas = widths * heights
    assert 0.079 < areas.min() < 0.1
    # Of an image that no ratio fits the middle is taken.
    left, upper, right, lower = jpeg.random_box(random, 1000, 10, 1.0)
    assert (upper, lower, left + right) == (0, 1, 1)
    assert (right - left) * 1000 == pytest.approx(13)
    assert jpeg.central_box(400, 200, 0.5) == pytest.approx((3 / 8, 1 / 4, 5 / 8, 3 / 4))


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same():
    y, x = np.mgrid[:1200, :1600] / 1600
    pixels = np.stack([128 + 100 * np.sin(9 * x), 255 * y, 128 + 100 * np.cos(7 * y)], -1).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    box = (0.25, 0.0, 1.0, 0.75)
    found = jpeg.decode(stream.getvalue(), "large", lambda width, height: box, 64)
    expected = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR, box=(400, 0, 1600, 900))
    assert np.abs(np.asarray(expected, float) - found).max() < 5


def test_a_damaged_file_is_named_and_threads_end(folder, tmp_path):
    root = fakes.write_folder(tmp_path)
    bad = root / "train" / "n01443537" / "n01443537_4.JPEG"
    for content, said in ((bad.read_bytes()[:-200], "truncated"), (b"no image", "cannot identify")):
        bad.write_bytes(content)
        with pytest.raises(UserError, match=said) as caught:
            list(task(root).train_batches(range(3), 8, ALL))
        (line,) = str(caught.value).splitlines()
        assert line.startswith(f"{bad} is not a whole image (")
        assert line.endswith("): replace it")
    batches = task(folder).train_batches(range(3), 8, ALL)
    next(batches)
    batches.close()
    for thread in threading.enumerate():
        if thread.name.startswith("grain"):
            thread.join(timeout=10)
            assert not thread.is_alive()


def test_data_that_are_not_there(tmp_path, folder):
    def fails(message, **changes):
        with pytest.raises(UserError, match=message):
            task(tmp_path, **changes).prepare()

    fails(rf"imagenet2012 is not in {tmp_path}: put the folders train/CLASS/\*.JPEG .* --config.data_dir=DIR")
    (tmp_path / "val").mkdir()
    fails(f"{tmp_path}/train is not there")
    (tmp_path / "train").mkdir()
    fails(f"{tmp_path}/train holds no folders: sort its images into one for each class")
    (tmp_path / "train" / "n01440764").mkdir()
    fails("train/n01440764 holds no image")
    with pytest.raises(
        UserError, match=r"train_examples is 25, and there are 24 .*--config.data.train_examples=24"
    ):
        task(folder, train_examples=25).prepare()
    with pytest.raises(UserError, match=r"config.data.classes is 4, and there are 3 classes"):
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
        sharding = NamedSharding(Mesh(order, ("batch",)), PartitionSpec("batch"))
        np.testing.assert_array_equal(local_rows(sharding, 8), ALL)
    half = NamedSharding(Mesh(devices[2:], ("batch",)), PartitionSpec("batch"))
    assert math.prod(half.mesh.shape.values()) == 2
    np.testing.assert_array_equal(local_rows(half, 8), ALL)


def test_reading_keeps_the_order_however_long_an_example_takes():
    def example(position):
        time.sleep(0.002 * (position % 3))
        return {"position": np.int32(position)}

    batches = list(read_batches(example, range(3, 6), 4, np.array([1, 3]), threads=4))
    np.testing.assert_array_equal([b["position"] for b in batches], [[13, 15], [17, 19], [21, 23]])
