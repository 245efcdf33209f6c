"""Creates a TFDS directory from the official CIFAR archives, without TensorFlow."""

import contextlib
import fcntl
import hashlib
import http.client
import io
import logging
import pathlib
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from softshare_jax import durable
from softshare_jax.data import identity
from softshare_jax.errors import DISK_FAULTS, RunError, UserError, cannot_write, one_line

# Arrays ``images`` and ``labels``.
Split = dict[str, np.ndarray]
URL = "https://www.cs.toronto.edu/~kriz/"
# Timeouts: for the first answer of the server, and for each pause during the download.
ANSWER_SECONDS, PAUSE_SECONDS = 2.0, 60.0


class Archive(NamedTuple):
    """An official archive.

    Attributes:
        file: name of the archive.
        sha256: checksum of the archive.
        splits: the files of each split.
        label_bytes: number of bytes before the pixels of each image; the last one is the class.
        names: the file with the names of the classes.
        version: version of the data set in TFDS.
    """

    file: str
    sha256: str
    splits: dict[str, tuple[str, ...]]
    label_bytes: int
    names: str
    version: str


ARCHIVES = {
    "cifar10": Archive(
        file=identity.ARCHIVE_FILES["cifar10"],
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        splits={
            "train": tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
            "test": ("cifar-10-batches-bin/test_batch.bin",),
        },
        label_bytes=1,
        names="cifar-10-batches-bin/batches.meta.txt",
        version="3.0.2",
    ),
    "cifar100": Archive(
        file=identity.ARCHIVE_FILES["cifar100"],
        sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        splits={"train": ("cifar-100-binary/train.bin",), "test": ("cifar-100-binary/test.bin",)},
        label_bytes=2,
        names="cifar-100-binary/fine_label_names.txt",
        version="3.0.2",
    ),
}

log = logging.getLogger(__name__)


def prepare(name: str, root: pathlib.Path) -> pathlib.Path:
    """Writes a data set as a TFDS directory of PNG images in array_record.

    Args:
        name: ``'cifar10'`` or ``'cifar100'``.
        root: folder of TFDS data sets.

    Returns:
        The directory, which appears complete or not at all. TFDS itself can read it. If another process
        is creating it, this one waits.

    Raises:
        UserError: the archive cannot be reached or is damaged, or the folder cannot be written.
        RunError: writing failed.
    """
    archive = ARCHIVES[name]
    file, folder = root / "downloads" / archive.file, root / name / archive.version
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(name, root):
            if not folder.exists():
                if not file.exists():
                    _fetch(name, file)
                _check(file, archive.sha256)
                names, splits = read_archive(name, file)
                digest = identity.digest(splits)
                description = identity.official_description(name, digest)
                write(name, description, names, splits, root)
    except OSError as error:
        raise cannot_write(error.filename or str(root), error) from error
    except RuntimeError as error:  # array_record raises this for a full disk
        raise RunError(f"{folder} cannot be written ({one_line(error, folder=root)})") from error
    return folder


@contextlib.contextmanager
def _alone(name: str, root: pathlib.Path) -> Iterator[None]:
    """Holds a lock that admits one process at a time; the system releases it if the process is killed."""
    with open(root / f".{name}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process to prepare %s in %s", name, root)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write(
    name: str, description: str, names: list[str], splits: Mapping[str, Split], root: pathlib.Path
) -> pathlib.Path:
    """Writes images as a TFDS directory, under a temporary name that it loses when it is complete.

    Only one process at a time may call this for a root.

    Args:
        name: ``'cifar10'`` or ``'cifar100'``.
        description: a sentence that says what the images are; runs that train on them record it.
        names: names of the classes.
        splits: the images of each split.
        root: folder of TFDS data sets.

    Returns:
        The directory.
    """
    folder = root / name / ARCHIVES[name].version
    log.info("writing %s", root / name)
    # An existing partial folder was left by a killed process.
    partial = root / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        builder = _builder(name, description, names, splits)(
            data_dir=str(partial), file_format="array_record"
        )
        tfds.disable_progress_bar()
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints misleading download sizes
            builder.download_and_prepare()
        durable.make_folder(folder.parent)
        durable.fsync_tree(pathlib.Path(builder.data_dir))
        durable.rename(pathlib.Path(builder.data_dir), folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _fetch(name: str, file: pathlib.Path) -> None:
    """Downloads an archive; the file appears complete or not at all."""
    url = URL + file.name
    try:
        urllib.request.urlopen(url, timeout=ANSWER_SECONDS).close()
        answer = urllib.request.urlopen(url, timeout=PAUSE_SECONDS)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise UserError(
            f"{name} is not in {file.parents[1]} and {url} cannot be reached ({reason}): "
            f"put {file.name} into {file.parent}, "
            "or set --config.data_dir=DIR to a folder with the data set"
        ) from error
    partial_file = file.with_name(file.name + ".partial")
    with answer, open(partial_file, "wb") as partial:
        try:
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            while block := answer.read(1 << 20):
                partial.write(block)
                done += len(block)
                if sys.stdout.isatty():
                    print(f"\rfetching {url}: {done >> 20} of {total >> 20} MB", end="", flush=True)
            if done < total:  # urllib raises no error when a connection closes early
                raise OSError(f"after {done} of {total} bytes")
            log.info("%sfetched %s: %d MB", "\r" if sys.stdout.isatty() else "", url, done >> 20)
            durable.fsync_file(partial_file)
            durable.rename(partial_file, file)
        except (OSError, http.client.HTTPException) as error:
            partial_file.unlink()
            if isinstance(error, OSError) and error.errno in DISK_FAULTS:
                raise
            raise UserError(f"the download of {url} failed ({error}): try again") from error


def _check(file: pathlib.Path, sha256: str) -> None:
    try:
        with open(file, "rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
    if found != sha256:
        raise UserError(
            f"{file} is damaged: its SHA-256 is not that of the official archive; "
            "delete the file to download it again"
        )


def read_archive(name: str, file: pathlib.Path) -> tuple[list[str], dict[str, Split]]:
    """Reads an archive in the official binary layout.

    Args:
        name: ``'cifar10'`` or ``'cifar100'``.
        file: the archive.

    Returns:
        ``(names of the classes, splits)``, in the official order: images ``[N, 32, 32, 3]`` and labels
        ``[N]``, both uint8.
    """
    layout = ARCHIVES[name]
    size = layout.label_bytes + 3 * 32 * 32
    with tarfile.open(file) as tar:

        def content(member: str) -> bytes:
            stream = tar.extractfile(member)
            assert stream is not None
            return stream.read()

        names = content(layout.names).decode().split()
        splits = {}
        for split, members in layout.splits.items():
            records = np.frombuffer(b"".join(map(content, members)), np.uint8).reshape(-1, size)
            pixels = records[:, layout.label_bytes :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            splits[split] = {"images": pixels, "labels": records[:, layout.label_bytes - 1]}
    return names, splits


def _builder(
    name: str, description: str, names: list[str], splits: Mapping[str, Split]
) -> type[tfds.core.GeneratorBasedBuilder]:
    """Returns a builder with the name and features that the data set has in TFDS."""

    def info(self) -> tfds.core.DatasetInfo:
        features = {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(32, 32, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=names),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=description,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def generate(split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        images, labels = splits[split]["images"], splits[split]["labels"]
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            # TFDS needs TensorFlow to encode an array as PNG, but not to encode a Pillow image.
            yield i, {"id": f"{split}_{i:05d}", "image": Image.fromarray(image), "label": int(label)}

    # TFDS has builders with these names; do not replace them in its registry.
    with tfds.core.registered.skip_registration():
        return type(
            name.capitalize(),
            (tfds.core.GeneratorBasedBuilder,),
            {
                "VERSION": tfds.core.Version(ARCHIVES[name].version),
                "_info": info,
                "_split_generators": lambda self, dl_manager: {split: generate(split) for split in splits},
                "_generate_examples": lambda self, split: generate(split),
                "__module__": __name__,
            },
        )
