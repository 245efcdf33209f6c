"""A soft-shared network as an ONNX file, by jax2onnx, for runtimes without XLA."""

import contextlib
import importlib.util
import logging
import pathlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import jaxpr_as_fun

from softshare_jax.conversion.difference import largest
from softshare_jax.conversion.network import Network, split_arrays
from softshare_jax.errors import UserError, one_line

NEEDED = ("jax2onnx", "onnxruntime")
ERRORS_ONLY = 3  # severity of onnxruntime's log
# Largest difference of an output over the largest output; bfloat16 rounds to 2^-8.
ROUNDING = 0.02


def check_installed() -> None:
    """Checks that the packages are installed which write ONNX files and run them.

    Raises:
        UserError: one of them is missing.
    """
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"ONNX needs {package}, which is not installed: pip install 'softshare_jax[onnx]'"
            )


def write(
    network: Network,
    shapes: Sequence[jax.ShapeDtypeStruct],
    inputs: Sequence[np.ndarray | jax.Array],
    file: pathlib.Path,
) -> dict[str, Any]:
    """Writes a network to a file, runs the file by onnxruntime and compares it with the network.

    Call ``check_installed`` before any work.

    Weights that layers share are in the file once: templates and coefficients are constants, and sums of
    templates are nodes. A loop of the network's code, such as ``lax.scan``, is a Loop of ONNX.

    Args:
        network: network to write.
        shapes: shapes and dtypes of the inputs; the size of the batch may be symbolic.
        inputs: examples for the comparison, ``[N, ...]`` each.
        file: file to write.

    Returns:
        The opset and the largest difference of an output on the examples.

    Raises:
        UserError: ONNX or jax2onnx lack an operation of the network, or the file computes something else.
    """
    arrays, join = split_arrays(jax.device_get(network.variables))

    def function(*inputs: Any) -> Any:
        return network.outputs(join(arrays), *inputs)

    # While jax2onnx traces, it replaces functions of jax by operations of its own. Some networks trace only
    # without these, and some operations, such as jnp.stack in jax2onnx 0.13, are known only as these.
    traced = jaxpr_as_fun(jax.make_jaxpr(function)(*shapes))
    expected = jax.tree.leaves(network(*inputs))
    limit = ROUNDING * max(1.0, largest(expected, [np.zeros_like(output) for output in expected]))
    errors = []
    for form in (traced, function):
        try:
            opset, found = _write(form, shapes, inputs, file)
        except Exception as error:  # neither package documents its exceptions
            errors.append(one_line(error, 160))
            continue
        difference = largest(expected, found)
        if difference <= limit:
            return {"opset": opset, "largest_logit_difference": difference}
        errors.append(f"outputs of the file differ by {difference:.3g}")
    raise UserError(f"the network cannot be written as ONNX: {errors[0]}")


def _write(
    function: Callable[..., Any],
    shapes: Sequence[jax.ShapeDtypeStruct],
    inputs: Sequence[np.ndarray | jax.Array],
    file: pathlib.Path,
) -> tuple[int, list[np.ndarray]]:
    """Writes a function to a file; returns its opset and its outputs by onnxruntime."""
    with _quiet():
        from jax2onnx import to_onnx

        model = to_onnx(function, shapes, return_mode="proto")
    # Some of the shapes that jax2onnx notes are wrong. Runtimes infer them.
    del model.graph.value_info[:]
    file.write_bytes(model.SerializeToString())
    opset = next(one.version for one in model.opset_import if not one.domain)
    return opset, _run(file, inputs)


def _run(file: pathlib.Path, inputs: Sequence[np.ndarray | jax.Array]) -> list[np.ndarray]:
    """Returns the outputs of an ONNX file, in order."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return list(session.run(None, dict(zip(names, map(np.asarray, inputs), strict=True))))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides warnings of jax2onnx, and what it and onnx_ir log about plugins and shapes they do not know."""
    loggers = [logging.getLogger(name) for name in ("jax2onnx", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
