"""Small generated data sets in the layouts of ImageNet: folders of JPEGs and TFDS directories."""

import io
import pathlib

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

CLASSES = ("n01440764", "n01443537", "n01484850")


def jpeg(random: np.random.Generator, label: int, width: int, height: int, mode: str = "RGB") -> bytes:
    """Returns a smooth JPEG whose color depends on its class, so that a network can learn it."""
    small = random.integers(0, 120, (4, 4, 3), np.uint8)
    small[..., label % 3] += 120
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def write_folder(root: pathlib.Path, train: int = 8, test: int = 3, seed: int = 0) -> pathlib.Path:
    """Writes ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``, ``train`` and ``test`` images per class.

    Sizes differ. As in ImageNet, some images are gray or CMYK.
    """
    random = np.random.default_rng(seed)
    for split, number in (("train", train), ("val", test)):
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(number):
                width, height = random.integers(40, 90, 2)
                mode = {0: "L", 1: "CMYK"}.get(i, "RGB")
                (folder / f"{name}_{i}.JPEG").write_bytes(jpeg(random, label, width, height, mode))
    return root


def write_tfds(folder: pathlib.Path, root: pathlib.Path) -> pathlib.Path:
    """Writes a folder as the TFDS directory ``imagenet2012/5.1.0`` of array_record files."""

    def generate(split: str):
        for label, name in enumerate(CLASSES):
            for file in sorted((folder / split / name).iterdir()):
                data = io.BytesIO(file.read_bytes())
                yield file.name, {"image": data, "label": label, "file_name": file.name}

    def info(self):
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=list(CLASSES)),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    with tfds.core.registered.skip_registration():
        made = type(
            "Imagenet2012",
            (tfds.core.GeneratorBasedBuilder,),
            {
                "VERSION": tfds.core.Version("5.1.0"),
                "_info": info,
                "_split_generators": lambda self, _: {
                    "train": generate("train"),
                    "validation": generate("val"),
                },
                "_generate_examples": lambda self, split: generate(split),
                "__module__": __name__,
            },
        )
    tfds.disable_progress_bar()
    builder = made(data_dir=str(root), file_format="array_record")
    builder.download_and_prepare()
    return pathlib.Path(builder.data_dir)
