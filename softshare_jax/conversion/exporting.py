"""Exports a trained run: StableHLO that computes its logits, and safetensors files of its weights."""

import contextlib
import dataclasses
import json
import logging
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, cast

import flax
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import safetensors
from jax import export
from safetensors.numpy import save

import softshare_jax
from softshare_jax import loader
from softshare_jax.conversion.output import check_unused, new_folder
from softshare_jax.runs.load import Trained, load
from softshare_jax.runs.workdir import Workdir
from softshare_jax.sharing.parameters import count
from softshare_jax.sharing.tree import named_arrays

PLATFORMS = ("cpu", "cuda", "tpu")
SHARED = "shared.safetensors"
MATERIALIZED = "materialized.safetensors"
# Number of test examples on which the export is compared with the run.
COMPARED = 32


log = logging.getLogger(__name__)


def export_run(source: Workdir, output: pathlib.Path, step: int | None = None) -> dict[str, Any]:
    """Exports the run in a workdir to a folder, which appears complete or not at all.

    Args:
        source: workdir of a trained run, folded or not; it does not change.
        output: folder to create; it must not exist, or must be empty.
        step: step of the checkpoint; ``None`` for the newest.

    Returns:
        The content of ``export.json`` in the output.

    Raises:
        UserError: the source has no run or no such step, its data set is not available, or the output is in
            use.
    """
    check_unused(output)
    # The export may run on a CPU, where XLA is over ten times slower with convolutions in a loop. Other
    # implementations of convolutions are not part of XLA.
    config = dataclasses.replace(source.read_config(), scan_blocks="no", convolution="xla")
    run = load(source, step, config)
    task = run.experiment.task
    task.prepare()
    images = np.asarray(task.first("test", task.phases - 1, COMPARED)["images"])
    with new_folder(output) as folder:
        log.info("exporting %s at step %d; this compiles it first", config.model, run.step)
        return write(run, images, task.class_names(), folder)


def write(
    run: Trained, images: np.ndarray, classes: list[str] | None, folder: pathlib.Path
) -> dict[str, Any]:
    """Writes the files of an export, loads the model from them and compares it with the run.

    Args:
        run: run to export.
        images: examples ``[N, H, W, C]`` for the comparison; they set the model's input shape and dtype.
        classes: names of the classes, by label; ``None`` if the network is not a classifier.
        folder: existing folder to write to.

    Returns:
        The content of ``export.json``.
    """
    experiment = run.experiment
    dense = experiment.programs.to_dense(run.variables)
    facts = {"model": experiment.config.model, "step": str(run.step)}
    exported = _export(run, images)
    (folder / loader.MODEL).write_bytes(exported.serialize())
    write_weights(folder / SHARED, run.variables, {**facts, "plan": experiment.plan.to_json()})
    write_weights(folder / MATERIALIZED, dense, facts)
    files = [folder / name for name in (loader.MODEL, SHARED, MATERIALIZED)]
    description = {
        "format": loader.FORMAT,
        "model": experiment.config.model,
        "step": run.step,
        "input": _described(exported.in_avals[0]),
        "output": _described(exported.out_avals[0]),
        "classes": classes,
        "parameters": {**count(run.variables)._asdict(), "materialized": count(dense).total},
        "platforms": list(exported.platforms),
        "files": {f.name: {"bytes": f.stat().st_size, "sha256": loader.sha256(f)} for f in files},
        "versions": {
            "softshare_jax": softshare_jax.__version__,
            "jax": jax.__version__,
            "jaxlib": jaxlib.__version__,
            "flax": flax.__version__,
            "safetensors": safetensors.__version__,
            "calling_convention": exported.calling_convention_version,
        },
        "load": "softshare_jax.loader.load(FOLDER)(images); or without softshare_jax: "
        f"jax.export.deserialize(bytearray(open('{loader.MODEL}', 'rb').read())).call(images)",
    }
    _write_json(folder / loader.DESCRIPTION, description)
    # Compare the files on disk, not the model in memory.
    difference = np.abs(loader.load(folder)(images) - logits(run, images))
    description |= {"largest_logit_difference": float(np.max(difference)), "compared_on": len(images)}
    _write_json(folder / loader.DESCRIPTION, description)
    return description


def logits(run: Trained, images: np.ndarray) -> np.ndarray:
    """Returns the logits ``[N, ...]`` of images ``[N, H, W, C]``, computed as in evaluation."""
    experiment = run.experiment

    @jax.jit
    def evaluate(dense, images):
        return experiment.network.apply(dense, experiment.task.inputs({"images": images}), train=False)

    return np.asarray(evaluate(experiment.programs.to_dense(run.variables), images))


def write_weights(file: pathlib.Path, variables: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Writes variables to a safetensors file under names such as ``'templates/stage_1'``; keeps dtypes.

    Args:
        file: file to write.
        variables: nested dictionaries of arrays.
        metadata: texts for the file's header.
    """
    # Row-major order, whatever the layout in memory: the format has no other.
    arrays = {name: np.asarray(array, order="C") for name, array in named_arrays(variables).items()}
    file.write_bytes(save(arrays, dict(metadata)))


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
    return "\n".join(lines)


def _export(run: Trained, images: np.ndarray) -> export.Exported:
    """Traces images -> logits with the run's variables as constants."""
    experiment, variables = run.experiment, jax.device_get(run.variables)

    def model(images):
        # Without the barrier XLA would fold constants: slow, and the program would hold L layers instead of
        # k templates.
        shared = jax.lax.optimization_barrier(variables)
        outputs = experiment.model.apply(shared, experiment.task.inputs({"images": images}), train=False)
        return cast(jax.Array, outputs).astype(jnp.float32)

    shape = (*export.symbolic_shape("B"), *images.shape[1:])
    with _names_without_folders():
        return export.export(jax.jit(model), platforms=PLATFORMS)(jax.ShapeDtypeStruct(shape, images.dtype))


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


def _described(array: jax.core.ShapedArray) -> dict[str, Any]:
    shape = [side if isinstance(side, int) else str(side) for side in array.shape]
    return {"dtype": str(array.dtype), "shape": shape}


def _write_json(file: pathlib.Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=1))
