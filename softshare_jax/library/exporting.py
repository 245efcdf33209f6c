"""Exports any soft-shared model: StableHLO with shared weights, and its weights as safetensors."""

import os
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from softshare_jax import paths, sharing
from softshare_jax.conversion import onnx_file
from softshare_jax.conversion.exporting import trace, write_network
from softshare_jax.conversion.network import Apply, Network, is_array
from softshare_jax.conversion.output import new_folder
from softshare_jax.errors import UserError, one_line


def export(
    plan: sharing.Plan,
    variables: Mapping[str, Any],
    apply: Apply,
    example: Any,
    folder: str | os.PathLike[str],
    *,
    name: str = "model",
    any_batch: bool = True,
    onnx: bool = False,
) -> dict[str, Any]:
    """Writes a network to a folder that ``softshare_jax.loader.load`` runs in any process.

    The folder has the files of ``softshare export``: the program with shared weights, the weights shared and
    dense, and ``export.json``. It appears complete or not at all. Before that the program is read back and
    compared with the network on ``example``.

    Args:
        plan, variables: the network, folded or not; the empty plan for an unshared one.
        apply: ``apply(params, *inputs)`` returns the outputs, a tree of arrays, given the dense parameters as
            ``materialize`` returns them. If it has a parameter with the name of another collection of the
            variables, such as ``batch_stats``, it gets that collection by keyword.
        example: an input, or a tuple of inputs, arrays ``[N, ...]``; they set shapes and dtypes. Unless jax
            has 64-bit types, an input with one, such as float64, has 32 bits in the program.
        folder: folder to create; it must not exist, or must be empty.
        name: of the model, for the files.
        any_batch: the program takes batches of any size. With ``False``, for models that need a known size,
            it takes batches of N.
        onnx: also write the network as an ONNX file, and compare it by onnxruntime. Weights that layers share
            are in it once, and a ``lax.scan`` in ``apply`` is a loop.

    Returns:
        The content of ``export.json``.

    Raises:
        UserError: the folder is in use or cannot be written, an input is not an array, the model cannot be
            exported, or the packages for ONNX are not installed.
        PlanError: the variables are not those of the plan.
        RunError: the disk is full.
    """
    inputs = example if isinstance(example, tuple) else (example,)
    for number, array in enumerate(inputs, start=1):
        if not is_array(array):
            raise UserError(f"input {number} of the example is {type(array).__name__}; it must be an array")
    if not inputs:
        raise UserError("the example is empty: it needs an input")
    if onnx:
        onnx_file.check_installed()
    inputs = tuple(map(jnp.asarray, inputs))
    network = Network(plan, variables, apply)
    with new_folder(paths.local(folder), "folder") as unfinished:
        network(*inputs)  # a bug of the model keeps its traceback; what fails below is a limit of exports
        try:
            program = trace(network, inputs, any_batch)
        except Exception as error:  # the exceptions of jax are not documented
            advice = "; any_batch=False exports it for the shapes of the example only" if any_batch else ""
            raise UserError(f"the model cannot be exported: {one_line(error, 160)}{advice}") from error
        return write_network(network, program, inputs, unfinished, {"model": name}, network if onnx else None)
