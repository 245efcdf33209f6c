"""Exports a trained run: StableHLO that computes its logits, and safetensors files of its weights."""

import contextlib
import dataclasses
import json
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import flax
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import safetensors
from jax import export
from safetensors.numpy import save

import softshare_jax
from softshare_jax.conversion import onnx_file
from softshare_jax.conversion.difference import largest
from softshare_jax.conversion.network import Network, is_random_key, split_arrays
from softshare_jax.conversion.output import check_unused, new_folder
from softshare_jax.conversion.schedule import schedule
from softshare_jax.errors import UserError, one_line
from softshare_jax.exports.description import DESCRIPTION, FORMAT, sha256
from softshare_jax.exports.model import MODEL
from softshare_jax.exports.model import load as load_exported
from softshare_jax.exports.weights import name_of
from softshare_jax.runs.load import Trained, load
from softshare_jax.runs.workdir import Workdir
from softshare_jax.sharing.parameters import count
from softshare_jax.sharing.tree import leaves
from softshare_jax.training.experiment import make_experiment

PLATFORMS = ("cpu", "cuda", "tpu")
SHARED = "shared.safetensors"
MATERIALIZED = "materialized.safetensors"
ONNX = "model.onnx"
# Number of test examples on which the export is compared with the run.
COMPARED = 32


log = logging.getLogger(__name__)


class Program(NamedTuple):
    """A traced network.

    Attributes:
        exported: what ``jax.export`` made of it.
        file: the same as the content of a file.
    """

    exported: export.Exported
    file: bytes


def export_run(
    source: Workdir, output: pathlib.Path, step: int | None = None, onnx: bool = False
) -> dict[str, Any]:
    """Exports the run in a workdir to a folder, which appears complete or not at all.

    Args:
        source: workdir of a trained run, folded or not; it does not change.
        output: folder to create; it must not exist, or must be empty.
        step: step of the checkpoint; ``None`` for the newest.
        onnx: also write the network as an ONNX file.

    Returns:
        The content of ``export.json`` in the output.

    Raises:
        UserError: the source has no run or no such step, its data set is not available, or the output is in
            use. For ONNX: see ``onnx_file.write``.
    """
    check_unused(output)
    if onnx:
        onnx_file.check_installed()
    # The export may run on a CPU, where XLA is over ten times slower with convolutions in a loop. Other
    # implementations of convolutions are not part of XLA.
    config = dataclasses.replace(source.read_config(), scan_blocks="no", convolution="xla")
    run = load(source, step, config)
    task = run.experiment.task
    task.prepare()
    images = np.asarray(task.first("test", task.phases - 1, COMPARED)["images"])
    with new_folder(output) as folder:
        log.info("exporting %s at step %d; this compiles it first", config.model, run.step)
        return write(run, images, task.class_names(), folder, onnx)


def write(
    run: Trained, images: np.ndarray, classes: list[str] | None, folder: pathlib.Path, onnx: bool = False
) -> dict[str, Any]:
    """Writes the files of an export, loads the model from them and compares it with the run.

    Args:
        run: run to export.
        images: examples ``[N, H, W, C]`` for the comparison; they set the model's input shape and dtype.
        classes: names of the classes, by label; ``None`` if the network is not a classifier.
        folder: existing folder to write to.
        onnx: also write the network as an ONNX file, in which blocks in a row are a loop.

    Returns:
        The content of ``export.json``.
    """
    facts = {"model": run.experiment.config.model, "step": run.step, "classes": classes}
    network = _network(run)
    looped = _network(_with_loops(run)) if onnx else None
    return write_network(network, trace(network, (images,)), (images,), folder, facts, looped)


def logits(run: Trained, images: np.ndarray) -> np.ndarray:
    """Returns the logits ``[N, ...]`` of images ``[N, H, W, C]``, computed as in evaluation."""
    return np.asarray(_network(run)(images))


def _network(run: Trained) -> Network:
    """Returns a run as a function from images to logits."""
    experiment = run.experiment

    def apply(params: Any, images: Any, batch_stats: Any = None) -> jax.Array:
        dense = {"params": params} | ({} if batch_stats is None else {"batch_stats": batch_stats})
        inputs = experiment.task.inputs({"images": images})
        return cast(jax.Array, experiment.network.apply(dense, inputs, train=False)).astype(jnp.float32)

    return Network(experiment.plan, run.variables, apply)


def _with_loops(run: Trained) -> Trained:
    """Returns the same run with a network that computes blocks in a row by ``lax.scan``."""
    config = dataclasses.replace(run.experiment.config, scan_blocks="yes")
    return run._replace(experiment=make_experiment(config, run.experiment.plan))


def write_network(
    network: Network,
    program: Program,
    inputs: Sequence[np.ndarray | jax.Array],
    folder: pathlib.Path,
    facts: Mapping[str, Any],
    onnx: Network | None = None,
) -> dict[str, Any]:
    """Writes the files of an export, loads the network from them and compares it with the original.

    Args:
        network: network to export.
        program: the network as ``trace`` returns it.
        inputs: examples for the comparison, ``[N, ...]`` each.
        folder: existing folder to write to.
        facts: ``model``, its name, and others; they go into ``export.json``, and ``step`` into the weights.
        onnx: what to write as an ONNX file; ``None``: no such file.

    Returns:
        The content of ``export.json``.

    Raises:
        UserError: the weights do not fit into a safetensors file.
    """
    exported = program.exported
    (folder / MODEL).write_bytes(program.file)
    stated = {name: str(facts[name]) for name in ("model", "step") if name in facts}
    write_weights(folder / SHARED, network.variables, {**stated, "plan": network.plan.to_json()})
    write_weights(folder / MATERIALIZED, network.dense, stated)
    files = [folder / name for name in (MODEL, SHARED, MATERIALIZED)]
    if onnx is not None:
        files.append(folder / ONNX)
        shapes = [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in exported.in_avals]
        facts = {**facts, "onnx": onnx_file.write(onnx, shapes, inputs, folder / ONNX)}
    named = "images" if "step" in facts else "*inputs"
    description = {
        "format": FORMAT,
        **facts,
        "input": _described(exported.in_avals),
        "output": _described(exported.out_avals),
        "parameters": {**count(network.variables)._asdict(), "materialized": count(network.dense).total},
        "loops": schedule(network.plan, network.variables),
        "platforms": list(exported.platforms),
        "files": {f.name: {"bytes": f.stat().st_size, "sha256": sha256(f)} for f in files},
        "versions": {
            "softshare_jax": softshare_jax.__version__,
            "jax": jax.__version__,
            "jaxlib": jaxlib.__version__,
            "flax": flax.__version__,
            "safetensors": safetensors.__version__,
            "calling_convention": exported.calling_convention_version,
        },
        "load": f"softshare_jax.loader.load(FOLDER)({named}); or without softshare_jax: "
        f"jax.export.deserialize(bytearray(open('{MODEL}', 'rb').read())).call({named})",
    }
    _write_json(folder / DESCRIPTION, description)
    # Compare the files on disk, not the model in memory.
    found = jax.device_get(load_exported(folder)(*inputs))
    description |= {
        "largest_logit_difference": largest(network(*inputs), found),
        "compared_on": inputs[0].shape[0] if inputs[0].shape else 1,
    }
    _write_json(folder / DESCRIPTION, description)
    return description


def write_weights(file: pathlib.Path, variables: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Writes variables to a safetensors file under names such as ``'templates/stage_1'``; keeps dtypes.

    Args:
        file: file to write.
        variables: nested dictionaries of arrays, or other trees; leaves that are not arrays are left out.
        metadata: texts for the file's header.

    Raises:
        UserError: an array holds random keys or has a dtype unknown to the format.
    """
    arrays = {}
    for path, array in leaves(variables).items():
        name = name_of(path)
        if is_random_key(array):
            raise UserError(f"{name} holds random keys, which are no weights: keep them out of the variables")
        # Row-major order, whatever the layout in memory: the format has no other.
        arrays[name] = np.asarray(array, order="C")
    try:
        file.write_bytes(save(arrays, dict(metadata)))
    except safetensors.SafetensorError as error:
        raise UserError(f"{file.name} cannot hold these weights: {one_line(error, 80)}") from error


def as_lines(description: dict[str, Any]) -> str:
    """Returns a description as text for the terminal."""
    parameters = description["parameters"]
    images, found = (
        f"{side['dtype']} [{', '.join(map(str, side['shape']))}]"
        for side in (description["input"], description["output"])
    )
    lines = [
        f"{description['model']} at step {description['step']}: images {images} -> logits {found}",
        f"  parameters       {parameters['shared'] + parameters['private']:,} "
        f"({parameters['materialized']:,} as dense weights)",
        *(f"  {name:25} {facts['bytes']:>13,} bytes" for name, facts in description["files"].items()),
        f"  runs on          {', '.join(description['platforms'])}",
        f"  largest logit difference {description['largest_logit_difference']:.3g} "
        f"on {description['compared_on']} test examples",
    ]
    if "onnx" in description:
        onnx = description["onnx"]
        lines.append(f"  {ONNX}: opset {onnx['opset']}, difference {onnx['largest_logit_difference']:.3g}")
    return "\n".join(lines)


def trace(network: Network, inputs: Sequence[np.ndarray | jax.Array], any_batch: bool = True) -> Program:
    """Traces inputs -> outputs with the soft-shared variables as constants.

    Args:
        network: network to export.
        inputs: examples, ``[N, ...]`` each, for shapes and dtypes.
        any_batch: the program takes batches of any size, otherwise of N.
    """
    arrays, join = split_arrays(jax.device_get(network.variables))

    def model(*inputs: Any) -> Any:
        # Without the barrier XLA would fold constants: slow, and the program would hold L layers instead of
        # k templates.
        return network.outputs(join(jax.lax.optimization_barrier(arrays)), *inputs)

    batch = export.symbolic_shape("B") if any_batch else None
    shapes = [
        jax.ShapeDtypeStruct((*batch, *x.shape[1:]) if batch and x.shape else x.shape, x.dtype)
        for x in inputs
    ]
    with _names_without_folders():
        exported = export.export(jax.jit(model), platforms=PLATFORMS)(*shapes)
    return Program(exported, bytes(exported.serialize()))


@contextlib.contextmanager
def _names_without_folders() -> Iterator[None]:
    """Strips folder names from the source locations in an exported program."""
    option = "jax_hlo_source_file_canonicalization_regex"
    before = getattr(jax.config, option)
    jax.config.update(option, r".*[/\\]")
    try:
        yield
    finally:
        jax.config.update(option, before)


def _described(arrays: Sequence[jax.core.ShapedArray]) -> dict[str, Any] | list[dict[str, Any]]:
    """Returns dtype and shape of an array, or a list of them if there are several."""
    found = [
        {
            "dtype": str(array.dtype),
            "shape": [side if isinstance(side, int) else str(side) for side in array.shape],
        }
        for array in arrays
    ]
    return found[0] if len(found) == 1 else found


def _write_json(file: pathlib.Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=1))
