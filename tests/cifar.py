"""Small data sets that look like CIFAR: official archives and TFDS directories of random images."""

import hashlib
import io
import json
import pathlib
import struct
import tarfile
from typing import NamedTuple
from unittest import mock

import numpy as np

from softshare_jax.data import cifar_archive

CLASSES = {"cifar10": 10, "cifar100": 100}
Split = tuple[np.ndarray, np.ndarray]


class Fake(NamedTuple):
    """A data set of random images. With enough images, every label occurs.

    Attributes:
        name: 'cifar10' or 'cifar100'.
        splits: images [N, 32, 32, 3] uint8 and labels [N] of each split, in the official order.
    """

    name: str
    splits: dict[str, Split]


def fake(name: str, train: int = 20, test: int = 7, seed: int = 0) -> Fake:
    """Returns a data set; ``train`` is a multiple of 5, because the CIFAR-10 archive has five equal parts."""
    random = np.random.default_rng(seed)
    splits = {}
    for split, number in (("train", train), ("test", test)):
        images = random.integers(0, 256, (number, 32, 32, 3), np.uint8)
        splits[split] = (images, random.permutation(np.arange(number) % CLASSES[name]))
    return Fake(name, splits)


def write_archive(data: Fake, folder: pathlib.Path) -> tuple[pathlib.Path, str]:
    """Writes the archive (https://www.cs.toronto.edu/~kriz/cifar.html); returns its path and SHA-256."""
    (train, test), names = (data.splits[s] for s in ("train", "test")), class_names(data.name)
    if data.name == "cifar10":
        prefix, size = "cifar-10-batches-bin", len(train[1]) // 5
        parts = [tuple(array[i * size : (i + 1) * size] for array in train) for i in range(5)]
        content = {f"data_batch_{i + 1}.bin": records(data.name, part) for i, part in enumerate(parts)}
        content["test_batch.bin"] = records(data.name, test)
        content["batches.meta.txt"] = "\n".join([*names, "", ""]).encode()
    else:
        prefix = "cifar-100-binary"
        content = {"train.bin": records(data.name, train), "test.bin": records(data.name, test)}
        content["fine_label_names.txt"] = "\n".join([*names, ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / {"cifar10": "cifar-10-binary.tar.gz", "cifar100": "cifar-100-binary.tar.gz"}[data.name]
    with tarfile.open(file, "w:gz") as tar:
        for name, text in content.items():
            info = tarfile.TarInfo(f"{prefix}/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return file, hashlib.sha256(file.read_bytes()).hexdigest()


def records(name: str, split: Split) -> bytes:
    """Returns records: one label byte, or a coarse and a fine one, then the RGB planes row by row."""
    parts = []
    for image, label in zip(*split, strict=True):
        parts.append(bytes([label]) if name == "cifar10" else bytes([label // 5, label]))
        parts += [image[:, :, channel].tobytes() for channel in range(3)]
    return b"".join(parts)


def class_names(name: str) -> list[str]:
    """Returns the class names of the fake."""
    return [f"class_{i}" for i in range(CLASSES[name])]


def trusted(name: str, sha256: str):
    """Returns a context in which the archive with this checksum counts as the official one."""
    return mock.patch.dict(
        cifar_archive.ARCHIVES, {name: cifar_archive.ARCHIVES[name]._replace(sha256=sha256)}
    )


def write_directory(data: Fake, root: pathlib.Path) -> pathlib.Path:
    """Writes a TFDS directory below ``root`` through the archive and ``prepare``."""
    _, sha256 = write_archive(data, root / "downloads")
    with trusted(data.name, sha256):
        return cifar_archive.prepare(data.name, root)


def as_tfrecord(folder: pathlib.Path, shards: int = 2) -> None:
    """Rewrites a TFDS directory of array_record files in the TFRecord format, as TFDS itself writes it."""
    from array_record.python import array_record_module

    info = json.loads((folder / "dataset_info.json").read_text())
    assert info["fileFormat"] == "array_record"
    info["fileFormat"] = "tfrecord"
    for split in info["splits"]:
        (old,) = folder.glob(f"*-{split['name']}.array_record-*")
        reader = array_record_module.ArrayRecordReader(str(old))
        examples = reader.read_all()
        reader.close()
        old.unlink()
        parts = [
            examples[i * len(examples) // shards : (i + 1) * len(examples) // shards] for i in range(shards)
        ]
        for i, part in enumerate(parts):
            file = folder / f"{info['name']}-{split['name']}.tfrecord-{i:05d}-of-{shards:05d}"
            file.write_bytes(b"".join(map(tfrecord, part)))
        split["shardLengths"] = [str(len(part)) for part in parts]
    (folder / "dataset_info.json").write_text(json.dumps(info))


def tfrecord(data: bytes) -> bytes:
    """Returns a record: length, masked CRC-32C of the length, data, masked CRC-32C of the data."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def masked_crc(data: bytes) -> int:
    """Returns the CRC-32C (Castagnoli), masked as in TFRecord files."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
