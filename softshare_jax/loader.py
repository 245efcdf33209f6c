"""Runs an exported network, without its code and without Flax.

python -m softshare_jax.loader runs/exported --images=batch.npy --output=logits.npy
"""

from softshare_jax.shell import ending

if __name__ == "__main__":
    ending.start()  # so that Ctrl-C during the imports prints one line

import argparse
import io
import pathlib
import sys
import time
import zipfile

import numpy as np

from softshare_jax import durable, paths
from softshare_jax.errors import UserError, cannot_write
from softshare_jax.exports.description import describe
from softshare_jax.exports.model import load
from softshare_jax.exports.weights import Weights, read
from softshare_jax.shell import cli

# What programs import; exports/ has the code.
__all__ = ["Weights", "describe", "load", "read"]


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
        if not found.ndim or len(found) != len(images[start : start + size]):
            raise UserError(
                f"{arguments.exported} has no output for each image, but one of shape {list(found.shape)}: "
                "load it from Python"
            )
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
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
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
