"""Runs an exported network, without its code and without Flax.

python -m softshare_jax.loader runs/exported --images=batch.npy --output=logits.npy
"""

from softshare_jax.shell import ending

if __name__ == "__main__":
    ending.start()  # so that Ctrl-C during the imports prints one line

import argparse
import hashlib
import io
import os
import pathlib
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401 (registers bfloat16 with numpy)
import numpy as np
from safetensors import SafetensorError, safe_open

from softshare_jax import durable, json_text, paths
from softshare_jax.errors import UserError, cannot_write, one_line
from softshare_jax.shell import cli

FORMAT = "softshare_jax export 1"
DESCRIPTION = "export.json"
MODEL = "model.stablehlo"


class Weights(NamedTuple):
    """The content of a safetensors file.

    Attributes:
        variables: nested dictionaries of numpy arrays, such as ``variables["templates"]["stage_1"]``.
        metadata: texts ``model`` and, of a run, ``step``; in ``shared.safetensors`` also ``plan``, JSON for
            ``sharing.Plan.from_json``.
    """

    variables: dict[str, Any]
    metadata: dict[str, str]


def load(folder: str | os.PathLike) -> Callable[[Any], Any]:
    """Returns the exported model: a function of its inputs, arrays ``[B, ...]``.

    A run's model maps images ``[B, H, W, C]`` to float32 logits ``[B, ...]``. Images are numpy or jax arrays
    with the raw values of the data set; the model normalizes them. A model that a program exported has the
    inputs and outputs of that program's function. ``export.json`` has all shapes and dtypes. The model
    compiles once per batch size, and can be used under jit.

    Args:
        folder: folder of an export.

    Raises:
        UserError: the folder has no export, or its files are damaged. The function raises it if an input
            has another shape or dtype.
    """
    import jax  # reading weights needs no jax
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
        expected = exported.in_avals
        compiled = jax.jit(exported.call)
        if newer:
            # Fail here, not with a long error in the first call. This takes a moment, so only in this case.
            sides = [[side if isinstance(side, int) else 1 for side in one.shape] for one in expected]
            compiled.lower(*map(jax.ShapeDtypeStruct, sides, [one.dtype for one in expected]))
    except Exception as error:  # the exceptions of jax are not documented
        advice = f"; it was written by jax {writer}: use that version or export again" if newer else ""
        said = one_line(error, 120)
        raise UserError(f"{file} cannot be read by jax {jax.__version__} ({said}){advice}") from error

    def model(*inputs):
        if len(inputs) != len(expected):
            raise UserError(f"{folder} expects {len(expected)} inputs, not {len(inputs)}")
        batches = set()
        for number, (array, one) in enumerate(zip(inputs, expected, strict=True), start=1):
            if not _fits(array, one):
                which = "the input is" if len(expected) == 1 else f"input {number} is"
                raise UserError(
                    f"{which} {_named(array)}; {folder} expects {_named(one)} with B of 1 or more"
                )
            batches |= {array.shape[0]} if one.shape and not isinstance(one.shape[0], int) else set()
        if len(batches) > 1:
            raise UserError(f"the inputs have batches of {' and '.join(map(str, sorted(batches)))}: one size")
        return compiled(*inputs)

    return model


def _fits(array: Any, expected: Any) -> bool:
    """Returns whether an input has the dtype and the shape of an exported one; B is 1 or more."""
    sides = zip(array.shape, expected.shape, strict=False)
    return (
        len(array.shape) == len(expected.shape)
        and array.dtype == expected.dtype
        and all(there == side if isinstance(side, int) else there >= 1 for there, side in sides)
    )


def read(file: str | os.PathLike) -> Weights:
    """Reads a safetensors file of an export; checks its checksum if ``export.json`` is beside it.

    Raises:
        UserError: the file is missing or damaged.
    """
    arrays, metadata = read_arrays(file)
    return Weights(nested(arrays, path_of, file), metadata)


def name_of(path: Iterable[str]) -> str:
    """Returns the name of an array in a safetensors file: its keys, joined by slashes.

    Slashes and tildes of a key are escaped as in JSON Pointer (RFC 6901), so that ``path_of`` is the inverse.
    """
    return "/".join(key.replace("~", "~0").replace("/", "~1") for key in path)


def path_of(name: str) -> list[str]:
    """Returns the keys of a name that ``name_of`` made."""
    return [key.replace("~1", "/").replace("~0", "~") for key in name.split("/")]


def read_arrays(file: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the arrays of a safetensors file by name, and its metadata; checks it as ``read`` does.

    Raises:
        UserError: the file is missing or damaged, or numpy does not know a dtype.
    """
    file = paths.local(file)
    if (file.parent / DESCRIPTION).exists():
        _verify(file, describe(file.parent))
    try:
        with safe_open(file, framework="numpy") as arrays:
            names = arrays.keys()
            return {name: _tensor(arrays, name, file) for name in names}, arrays.metadata() or {}
    except FileNotFoundError:
        raise UserError(f"{file} does not exist") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as safetensors: {one_line(error)}") from error


def nested(
    arrays: Mapping[str, np.ndarray], split: Callable[[str], list[str]], file: str | os.PathLike
) -> dict[str, Any]:
    """Returns arrays as nested dictionaries, given a function that splits their names into keys.

    Raises:
        UserError: a name in the file is the beginning of another one, or stands for the same place.
    """
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *parents, leaf = split(name)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                break
        if not isinstance(node, dict) or leaf in node:
            raise UserError(f"{file}: the name {name!r} conflicts with another name")
        node[leaf] = array
    return tree


def _tensor(arrays: Any, name: str, file: pathlib.Path) -> np.ndarray:
    try:
        return arrays.get_tensor(name)
    except Exception as error:  # the exceptions for dtypes unknown to numpy are not documented
        dtype = arrays.get_slice(name).get_dtype()
        raise UserError(f"{file}: {name!r} has dtype {dtype}, which numpy cannot read") from error


def describe(folder: str | os.PathLike) -> dict[str, Any]:
    """Returns the content of ``export.json``: model, step, input, output, loops, files and others.

    Raises:
        UserError: the folder has no export that this version can read.
    """
    file = paths.local(folder) / DESCRIPTION
    try:
        description = json_text.parse(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): name the folder of an export") from error
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise UserError(f"{file} does not describe an export that this version can read ({FORMAT!r})")
    return description


def _release(version: str) -> tuple[int, ...]:
    """Returns a version such as ``'0.10.2'`` as a tuple that can be compared."""
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
        raise UserError(f"{file} is damaged (wrong checksum): copy or export it again")


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
    from softshare_jax.shell import devices  # it imports jax; argument errors need not wait

    devices.check()
    model, size, logits = load(arguments.exported), arguments.batch_size, []
    said = time.monotonic()
    for start in range(0, max(len(images), 1), size):
        found = model(images[start : start + size])
        if not hasattr(found, "shape"):
            raise UserError(f"{arguments.exported} has several outputs: load it from Python")
        logits.append(np.asarray(found))
        if time.monotonic() - said > 10:
            said = time.monotonic()
            print(f"{start + len(logits[-1])} of {len(images)} images", flush=True)
    _write(output, np.concatenate(logits))
    print(f"wrote the logits of {len(images)} images to {output}", flush=True)


def _write(output: pathlib.Path, logits: np.ndarray) -> None:
    """Writes an array to a file, which appears complete or not at all."""
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
        raise UserError(f"--images {file} is not one array of images: write it with numpy.save")
    return images


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.Parser("loader", __doc__.split("\n")[0])
    parser.add_argument("exported", help="folder of an export")
    parser.add_argument("--images", required=True, help=".npy file of images, as stored in the data set")
    parser.add_argument("--output", required=True, help=".npy file to create, with float32 logits")
    parser.add_argument("--batch_size", type=int, default=128, help="images per batch (128)")
    arguments = parser.parse_args(argv)
    if arguments.batch_size < 1:
        parser.error(f"--batch_size is {arguments.batch_size}; it must be at least 1")
    return arguments


if __name__ == "__main__":
    cli.run(main)
