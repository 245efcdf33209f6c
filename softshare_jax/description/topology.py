"""Compiles a train step for TPUs or GPUs that need not exist; reports memory, work, traffic and roofline."""

import dataclasses
import importlib.util
import logging
import re
import time
from typing import Any

import jax
from jaxlib._jax import hlo_module_cost_analysis

from softshare_jax import config as config_lib
from softshare_jax.description.chips import CHIPS, roofline
from softshare_jax.description.collectives import sent, summarize
from softshare_jax.description.description import describe
from softshare_jax.description.gpus import GPUS, Gpu, target_config
from softshare_jax.errors import UserError
from softshare_jax.training.experiment import Experiment, make_experiment
from softshare_jax.training.mesh import replicated
from softshare_jax.training.state import trainable

log = logging.getLogger(__name__)

# Operations that only name memory.
NO_KERNEL = ("bitcast", "constant", "get-tuple-element", "parameter", "tuple")


def compile_for(topology: str, config: config_lib.Config) -> dict[str, Any]:
    """Compiles the train step of a config for a topology of TPUs or GPUs, without any.

    Blocks are unrolled and a dispatch takes one step, so that every operation of a step appears in the
    module once.

    The command must set the variables that libtpu reads before it imports jax.

    Args:
        topology: name of the topology, such as ``v5e:4x4``; or a GPU and a number, such as ``h100:8``.
        config: config of the run.

    Returns:
        JSON values: ``topology``, ``chips``, ``batch_size``, ``dtype``, ``compile_seconds``; per chip
        ``memory_bytes``, ``argument_bytes`` (state and data), ``temporary_bytes``, ``code_bytes``; per chip
        and step ``flops``, ``hbm_bytes`` (XLA's bytes accessed, which may include on-chip memory) and
        ``kernels``;
        ``collectives``, the result of ``collectives.summarize``; and ``roofline`` in seconds.

    Raises:
        UserError: the topology is unknown, its chips cannot split the batch or lack memory, or libtpu is
            missing.
    """
    devices = _devices(topology)
    chip = CHIPS[topology.split(":")[0]]
    config = dataclasses.replace(config, scan_blocks="no", steps_per_dispatch=1)
    experiment = make_experiment(config, devices=devices)
    log.info("compiling for %d chips; this takes some minutes", len(devices))
    start = time.monotonic()
    traced = experiment.programs.train_steps.trace(*abstract_arguments(experiment))
    lowered = traced.lower(lowering_platforms=("cuda" if _is_gpu(topology) else "tpu",))
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        text = " ".join(str(error).split()).split("RESOURCE_EXHAUSTED: ", 1)[1][:160].rstrip(". ")
        raise UserError(
            f"a chip of {topology} does not have enough memory for {config.model} at batch size "
            f"{config.batch_size} ({text}): use more chips or a smaller batch"
        ) from error
    seconds = time.monotonic() - start
    memory, (flops, hbm_bytes) = compiled.memory_analysis(), _work(compiled, config, len(devices))
    weights = trainable(experiment.programs.state_shapes().variables)
    collectives = summarize(
        sent(compiled.as_text(), len(devices)), [leaf.shape for leaf in jax.tree.leaves(weights)]
    )
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    code, temporary = memory.generated_code_size_in_bytes, memory.temp_size_in_bytes
    return {
        "topology": topology,
        "chips": len(devices),
        "batch_size": config.batch_size,
        "dtype": config.dtype,
        "compile_seconds": round(seconds, 1),
        "memory_bytes": held + temporary + code,
        "available_bytes": int(chip.memory),
        "argument_bytes": held,
        "temporary_bytes": temporary,
        "code_bytes": code,
        "flops": flops,
        "hbm_bytes": hbm_bytes,
        "kernels": kernels(compiled.as_text()),
        "collectives": collectives,
        "roofline": roofline(chip, flops, hbm_bytes, collectives, len(devices)),
    }


def _work(compiled: jax.stages.Compiled, config: config_lib.Config, devices: int) -> tuple[int, int]:
    """Returns the operations of a chip in a step, and the bytes that it reads and writes."""
    if cost := compiled.cost_analysis():
        return int(cost["flops"]), int(cost["bytes accessed"])
    # Without a GPU jax has no client to ask. Any client can count the bytes of a compiled module, but XLA
    # sees no operations in the calls of cuDNN. A backward pass does twice the work of a forward pass.
    executable: Any = compiled.runtime_executable()
    (module,) = executable.hlo_modules()
    counted = hlo_module_cost_analysis(jax.devices()[0].client, module)
    forward = describe(config.model)["flops_per_example"] * config.batch_size
    return int(3 * forward / devices), int(counted["bytes accessed"])


def kernels(module: str) -> int:
    """Returns the number of operations of a module that run on the device.

    Args:
        module: ``compiled.as_text()``.
    """
    entry = module.partition("\nENTRY")[2]
    operations = re.findall(r"^\s+(?:ROOT )?\S+ = .*? ([a-z][a-z0-9-]*)\(", entry, re.MULTILINE)
    return sum(not operation.endswith("-done") and operation not in NO_KERNEL for operation in operations)


def abstract_arguments(experiment: Experiment) -> tuple[Any, ...]:
    """Returns shapes, dtypes and shardings of the arguments of ``train_steps``."""
    task, whole = experiment.task, replicated(experiment.mesh)
    metrics = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), task.metrics.empty()
    )
    return experiment.programs.state_shapes(), metrics, task.fed_shapes(experiment.batching), 1


def as_table(compiled: dict[str, Any]) -> str:
    """Returns the result of ``compile_for`` as aligned lines."""
    limits = compiled["roofline"]
    rate = compiled["batch_size"] / limits["step"]
    lines = [
        f"  {compiled['topology']}: {compiled['chips']} chips, global batch {compiled['batch_size']}, "
        f"{compiled['dtype']}; compiled in {compiled['compile_seconds']:.0f} s",
        f"  memory per chip     {compiled['memory_bytes'] / 1e9:>10.2f} GB of "
        f"{compiled['available_bytes'] / 1e9:.0f}   (state and data {compiled['argument_bytes'] / 1e9:.2f}, "
        f"temporary {compiled['temporary_bytes'] / 1e9:.2f}, code {compiled['code_bytes'] / 1e9:.2f})",
        f"  FLOPs per chip      {compiled['flops'] / 1e9:>10.1f} G per step",
        f"  HBM traffic         {compiled['hbm_bytes'] / 1e9:>10.2f} GB per chip and step, as XLA counts, in "
        f"{compiled['kernels']:,} kernels",
    ]
    for row in compiled["collectives"]:
        lines.append(
            f"  {row['kind']:18}  {row['bytes'] / 1e6:>10.3f} MB   {row['numbers']:>12,} numbers "
            f"in {row['arrays']} arrays and {row['operations']} operations: {row['role']}"
        )
    lines.append(
        f"  roofline            {limits['step'] * 1e3:>10.2f} ms per step, {rate:,.0f} images/s   "
        f"(compute {limits['compute'] * 1e3:.2f}, memory {limits['memory'] * 1e3:.2f}, "
        f"links {limits['links'] * 1e3:.2f} ms)"
    )
    return "\n".join(lines)


def _is_gpu(topology: str) -> bool:
    return topology.partition(":")[0] in GPUS


def _gpus(gpu: Gpu, number: str) -> list[jax.Device]:
    if not re.fullmatch("[1-9][0-9]*", number):
        raise UserError(f"--topology of GPUs ends with their number, such as h100:8, not with {number!r}")
    from jax.experimental import topologies

    try:
        described = topologies.get_topology_desc(
            "", "cuda", topology=f"1x1x{number}", target_config=target_config(gpu)
        )
    except NotImplementedError as error:
        raise UserError("--topology for GPUs needs jax's CUDA plugin: pip install -e '.[cuda]'") from error
    return list(described.devices)


def _devices(topology: str) -> list[jax.Device]:
    chip, _, layout = topology.partition(":")
    if chip not in CHIPS:
        chips = ", ".join(CHIPS)
        raise UserError(
            f"unknown chip in --topology={topology}; name one of {chips} and a layout: v5e:4x4 or h100:8"
        )
    if _is_gpu(topology):
        return _gpus(GPUS[chip], layout)
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("--topology needs libtpu, which is not installed: pip install -e '.[topology]'")
    from jax.experimental import topologies

    try:
        return list(topologies.get_topology_desc(topology, "tpu").devices)
    except (jax.errors.JaxRuntimeError, ValueError, NotImplementedError) as error:
        raise UserError(f"unknown topology {topology!r}: {' '.join(str(error).split())[:160]}") from error
