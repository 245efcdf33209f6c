"""The computation of an export: StableHLO that jax compiles and runs."""

import os
import re
from collections.abc import Callable
from typing import Any

from softshare_jax import paths
from softshare_jax.errors import UserError, one_line
from softshare_jax.exports.description import describe, verify

MODEL = "model.stablehlo"


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
    import jax  # loader imports this module, and reading weights needs no jax
    from jax import export

    folder = paths.local(folder)
    description = describe(folder)
    file = folder / MODEL
    verify(file, description)
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
            if not hasattr(array, "shape") or not hasattr(array, "dtype"):
                raise UserError(
                    f"input {number} is a {type(array).__name__}, not an array: use numpy.asarray"
                )
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


def _named(array: Any) -> str:
    """Returns dtype and shape, such as ``'uint8 [B, 32, 32, 3]'``."""
    return f"{array.dtype} [{', '.join(map(str, array.shape))}]"


def _release(version: str) -> tuple[int, ...]:
    """Returns a version such as ``'0.10.2'`` as a tuple that can be compared."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
