"""Takes a trained run away: StableHLO that computes its logits, safetensors of its weights."""

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
# Test examples on which what was written is compared with the run.
COMPARED = 32


log = logging.getLogger(__name__)


def export_run(source: Workdir, output: pathlib.Path, step: int | None = None) -> dict[str, Any]:
    """Exports the run in a workdir into a folder, which appears complete or not at all.

    Args:
        source: workdir of a trained run, folded or not; it is not changed.
        output: folder to make; it must not exist, or be empty.
        step: of the checkpoint; ``None`` for the newest.

    Returns:
        What ``export.json`` in the output holds.

    Raises:
        UserError: the source holds no run or no such step, its data set cannot be had, or the output
            is in use.
    """
    check_unused(output)
    # Whoever loads it may have a CPU, on which XLA runs convolutions in a loop more than ten times slower.
    config = dataclasses.replace(source.read_config(), scan_blocks="no")
    run = load(source, step, config)
    task = run.experiment.task
    task.prepare()
    images = np.asarray(task.first("test", task.phases - 1, COMPARED)["images"])
    with new_folder(output) as folder:
        log.info("exporting %s at step %d; compiling takes a moment", config.model, run.step)
        return write(run, images, task.class_names(), folder)


def write(
    run: Trained, images: np.ndarray, classes: list[str] | None, folder: pathlib.Path
) -> dict[str, Any]:
    """Writes the files of an export, reads the model back and compares it with the run.

    Args:
        run: what to export.
        images: examples ``[N, H, W, C]`` to compare on, of the shape and dtype that the model is to take.
        classes: what the classes are called, by label; ``None`` where the answer is not a class.
        folder: where to write; it exists.

    Returns:
        What ``export.json`` holds.
    """
    experiment = run.experiment
    plain = experiment.programs.to_dense(run.variables)
    facts = {"model": experiment.config.model, "step": str(run.step)}
    exported = _export(run, images)
    (folder / loader.MODEL).write_bytes(exported.serialize())
    write_weights(folder / SHARED, run.variables, {**facts, "plan": experiment.plan.to_json()})
    write_weights(folder / MATERIALIZED, plain, facts)
    files = [folder / name for name in (loader.MODEL, SHARED, MATERIALIZED)]
    description = {
        "format": loader.FORMAT,
        "model": experiment.config.model,
        "step": run.step,
        "input": _described(exported.in_avals[0]),
        "output": _described(exported.out_avals[0]),
        "classes": classes,
        "parameters": {**count(run.variables)._asdict(), "materialized": count(plain).total},
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
    # The comparison is about what was read back from disk, not about what was meant.
    difference = np.abs(loader.load(folder)(images) - logits(run, images))
    description |= {"largest_logit_difference": float(np.max(difference)), "compared_on": len(images)}
    _write_json(folder / loader.DESCRIPTION, description)
    return description


def logits(run: Trained, images: np.ndarray) -> np.ndarray:
    """Returns the logits ``[N, ...]`` of images ``[N, H, W, C]``, as evaluation computes them."""
    experiment = run.experiment

    @jax.jit
    def evaluate(plain, images):
        return experiment.network.apply(plain, experiment.task.inputs({"images": images}), train=False)

    return np.asarray(evaluate(experiment.programs.to_dense(run.variables), images))


def write_weights(file: pathlib.Path, variables: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Writes variables as safetensors, flat by names such as ``'templates/stage_1'``; dtypes stay.

    Args:
        file: to write.
        variables: nested dictionaries of arrays.
        metadata: texts for the file's head.
    """
    # In rows, whatever the layout in memory: the format has no other.
    arrays = {name: np.asarray(array, order="C") for name, array in named_arrays(variables).items()}
    file.write_bytes(save(arrays, dict(metadata)))


def as_lines(description: dict[str, Any]) -> str:
    """Returns a description as the lines that ``export`` prints."""
    parameters = description["parameters"]
    images, found = (
        f"{side['dtype']} [{', '.join(map(str, side['shape']))}]"
        for side in (description["input"], description["output"])
    )
    lines = [
        f"{description['model']} at step {description['step']}: images {images} -> logits {found}",
        f"  parameters       {parameters['shared'] + parameters['private']:,} "
        f"({parameters['materialized']:,} materialised)",
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
        # Or XLA would compute the weights while it compiles, slowly, and the program would hold L
        # layers instead of k templates.
        shared = jax.lax.optimization_barrier(variables)
        outputs = experiment.model.apply(shared, experiment.task.inputs({"images": images}), train=False)
        return cast(jax.Array, outputs).astype(jnp.float32)

    shape = (*export.symbolic_shape("B"), *images.shape[1:])
    with _names_without_folders():
        return export.export(jax.jit(model), platforms=PLATFORMS)(jax.ShapeDtypeStruct(shape, images.dtype))


@contextlib.contextmanager
def _names_without_folders() -> Iterator[None]:
    """Lets jax note the source of an operation as a file's name: where it lies here is nobody's business."""
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
