"""Runs what ``export`` wrote, without the network's code and without Flax.

python -m softshare_jax.loader runs/exported --images=batch.npy --output=logits.npy
"""

from softshare_jax.shell import ending

if __name__ == "__main__":
    ending.start()  # so that Ctrl-C is one line while the rest is imported

import argparse
import hashlib
import io
import os
import pathlib
import re
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401 (numpy then knows bfloat16)
import numpy as np
from safetensors import SafetensorError, safe_open

from softshare_jax import durable, json_text, paths
from softshare_jax.errors import UserError, cannot_write, one_line
from softshare_jax.shell import cli

FORMAT = "softshare_jax export 1"
DESCRIPTION = "export.json"
MODEL = "model.stablehlo"


class Weights(NamedTuple):
    """What a safetensors file holds.

    Attributes:
        variables: nested dictionaries of numpy arrays, such as ``variables["templates"]["stage_1"]``.
        metadata: texts: ``model``, ``step``, and of ``shared.safetensors`` also ``plan``, the JSON that
            ``sharing.Plan.from_json`` reads.
    """

    variables: dict[str, Any]
    metadata: dict[str, str]


def load(folder: str | os.PathLike) -> Callable[[Any], Any]:
    """Returns the exported model: a function from images ``[B, H, W, C]`` to float32 logits ``[B, ...]``.

    Images are numpy or jax arrays of the data set's own numbers (``export.json`` names shape and dtype);
    normalisation is part of the model. It compiles once for each batch size, and can itself be jitted.

    Args:
        folder: as ``export`` wrote it.

    Raises:
        UserError: the folder holds no export, or its files are damaged; from the function: the images
            have another shape or dtype.
    """
    import jax  # weights can be read without it
    from jax import export

    folder = paths.local(folder)
    description = describe(folder)
    file = folder / MODEL
    _verify(file, description)
    versions = description.get("versions")
    writer = str(versions.get("jax")) if isinstance(versions, dict) else ""
    newer = _release(writer) > _release(jax.__version__)
    try:
        exported = export.deserialize(bytearray(file.read_bytes()))
        (expected,) = exported.in_avals
        compiled = jax.jit(exported.call)
        if newer:
            # Else it would fail when it is called first, at length. It takes a moment, so only here.
            compiled.lower(jax.ShapeDtypeStruct((1, *expected.shape[1:]), expected.dtype))
    except Exception as error:  # what jax raises for a file that it cannot read is not documented
        advice = f"; jax {writer} wrote it: use that version, or export again with this one" if newer else ""
        said = one_line(error, 120)
        raise UserError(f"{file} cannot be read by jax {jax.__version__} ({said}){advice}") from error

    def model(images):
        there = len(images.shape) == len(expected.shape) and images.shape[0]
        if not there or images.shape[1:] != expected.shape[1:] or images.dtype != expected.dtype:
            raise UserError(
                f"the images are {_named(images)}, and {folder} takes {_named(expected)} for B of 1 or more"
            )
        return compiled(images)

    return model


def read(file: str | os.PathLike) -> Weights:
    """Reads a safetensors file of an export; where ``export.json`` lies beside it, checks it as well.

    Raises:
        UserError: the file is missing or damaged.
    """
    file = paths.local(file)
    if (file.parent / DESCRIPTION).exists():
        _verify(file, describe(file.parent))
    variables: dict[str, Any] = {}
    try:
        with safe_open(file, framework="numpy") as arrays:
            for name in arrays.keys():  # noqa: SIM118 (it is no dictionary)
                *parents, leaf = name.split("/")
                node = variables
                for parent in parents:
                    node = node.setdefault(parent, {})
                    if not isinstance(node, dict):
                        break
                if not isinstance(node, dict) or leaf in node:
                    raise UserError(f"{file}: {name!r} and another name claim the same place in the tree")
                node[leaf] = _tensor(arrays, name, file)
            return Weights(variables, arrays.metadata() or {})
    except FileNotFoundError:
        raise UserError(f"{file} does not exist") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as safetensors: {one_line(error)}") from error


def _tensor(arrays: Any, name: str, file: pathlib.Path) -> np.ndarray:
    try:
        return arrays.get_tensor(name)
    except Exception as error:  # what it raises for a dtype that numpy has not is not documented
        dtype = arrays.get_slice(name).get_dtype()
        raise UserError(f"{file}: {name!r} is of dtype {dtype}, which numpy cannot read") from error


def describe(folder: str | os.PathLike) -> dict[str, Any]:
    """Returns what ``export.json`` says: model, step, input, output, class names, files, versions.

    Raises:
        UserError: the folder holds no export that this version can read.
    """
    file = paths.local(folder) / DESCRIPTION
    try:
        description = json_text.parse(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): name a folder of an export") from error
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise UserError(f"{file} does not describe an export that this version can read ({FORMAT!r})")
    return description


def _release(version: str) -> tuple[int, ...]:
    """Returns a version such as ``'0.10.2'`` as numbers, by which the newer one is larger."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def sha256(file: pathlib.Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _verify(file: pathlib.Path, description: dict[str, Any]) -> None:
    try:
        expected = description["files"][file.name]["sha256"]
    except (KeyError, TypeError):
        raise UserError(f"{file.parent / DESCRIPTION} does not list {file.name}") from None
    try:
        found = sha256(file)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    if found != expected:
        raise UserError(f"{file} is damaged, it is not what was exported: copy or export it anew")


def _named(array: Any) -> str:
    """Returns dtype and shape, such as ``'uint8 [B, 32, 32, 3]'``."""
    return f"{array.dtype} [{', '.join(map(str, array.shape))}]"


def main() -> None:
    """Reads the arguments, runs the model batch by batch and writes its logits.

    Raises:
        UserError: an argument is wrong, or a file is missing or damaged.
    """
    arguments = _parse(sys.argv[1:])
    output = paths.local(arguments.output)
    if output.exists() or not output.parent.is_dir():
        reason = (
            "exists: name a new file" if output.exists() else "cannot be written: there is no such folder"
        )
        raise UserError(f"--output {output} {reason}")
    images = _read_images(arguments.images)
    from softshare_jax.shell import devices  # it imports jax, which mistakes need not wait for

    devices.check()
    model, size, logits = load(arguments.exported), arguments.batch_size, []
    said = time.monotonic()
    for start in range(0, max(len(images), 1), size):
        logits.append(np.asarray(model(images[start : start + size])))
        if time.monotonic() - said > 10:
            said = time.monotonic()
            print(f"{start + len(logits[-1])} of {len(images)} images", flush=True)
    _write(output, np.concatenate(logits))
    print(f"wrote the logits of {len(images)} images to {output}", flush=True)


def _write(output: pathlib.Path, logits: np.ndarray) -> None:
    """Writes an array as a file that appears whole or not at all."""
    content = io.BytesIO()
    np.save(content, logits)
    try:
        durable.write_new(output, content.getvalue())
    except FileExistsError as error:
        raise UserError(
            f"--output {output} was made by another command meanwhile: name a new file"
        ) from error
    except OSError as error:
        raise cannot_write(f"--output {output}", error) from error


def _read_images(file: str) -> np.ndarray:
    try:
        images = np.load(paths.local(file))
    except OSError as error:
        raise UserError(f"--images {file} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise UserError(f"--images {file} is not a .npy file: {error}") from error
    if not isinstance(images, np.ndarray) or not images.ndim:
        raise UserError(f"--images {file} is not one array of images: write it by numpy.save")
    return images


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.Parser("loader", __doc__.split("\n")[0])
    parser.add_argument("exported", help="folder that softshare_jax.export wrote")
    parser.add_argument("--images", required=True, help=".npy file of images, as the data set holds them")
    parser.add_argument("--output", required=True, help=".npy file to make, of float32 logits")
    parser.add_argument("--batch_size", type=int, default=128, help="images at a time (128)")
    arguments = parser.parse_args(argv)
    if arguments.batch_size < 1:
        parser.error(f"--batch_size is 1 or more, not {arguments.batch_size}")
    return arguments


if __name__ == "__main__":
    cli.run(main)
