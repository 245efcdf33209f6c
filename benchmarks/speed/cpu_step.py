"""A training step on CPUs: each convolution, with and without kept memory, and a PyTorch twin, in turns.

    python -m benchmarks.speed.cpu_step --network=swrn-28-1-2 --cores=1

Every setting is a process of its own, because an allocator belongs to a process; they take a few steps each
in turns. The twin (tests/parity/twin.py) runs in two memory layouts, and compiled, if torch is installed; its
batch is ready, and ours is gathered and augmented in the step.
"""

import argparse
import importlib.util
import multiprocessing
import os
import statistics
from multiprocessing.connection import Connection
from typing import Any

SETTINGS = {
    "xla": ("xla", False),
    "xla, memory kept": ("xla", True),
    "matmul, memory kept": ("matmul", True),
    "onednn, memory kept": ("onednn", True),
}
# Memory layout, and whether torch.compile compiles.
TWINS = {
    "torch, contiguous": ("contiguous", False),
    "torch, channels last": ("channels_last", False),
    "torch, compiled": ("channels_last", True),
}


def main() -> None:
    """Measures and prints."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--network", default="swrn-28-1-2")
    flags.add_argument("--batch_size", type=int, default=128)
    flags.add_argument("--cores", type=int, default=1, help="cores of each process")
    flags.add_argument("--rounds", type=int, default=10, help="turns of each setting")
    flags.add_argument("--block", type=int, default=3, help="steps of a turn")
    flags.add_argument("--scan_blocks", default="no", help="yes or no")
    flags.add_argument("--steps_per_dispatch", type=int, default=1)
    arguments = flags.parse_args()
    arguments.dtype = "float32"
    names = [*SETTINGS, *(TWINS if importlib.util.find_spec("torch") else ())]
    spawn = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for name in names:
        pipes[name], theirs = spawn.Pipe()
        spawn.Process(target=_run, args=(name, arguments, theirs), daemon=True).start()
        said = pipes[name].recv()
        if isinstance(said, str):
            print(f"  {name}: {said}")
            del pipes[name]
        else:
            print(f"  {name}: ready after {said:.0f} s of CPU time", flush=True)
    turns = []
    for _ in range(arguments.rounds):
        turn = {}
        for name, pipe in pipes.items():
            pipe.send(arguments.block)
            turn[name] = pipe.recv() / arguments.block
        turns.append(turn)
    for pipe in pipes.values():
        pipe.send(0)
    base = min((n for n in pipes if n in TWINS), key=lambda n: _median(turns, n), default="xla")
    print(f"{arguments.network}, batch {arguments.batch_size}, {arguments.cores} core(s)")
    print(f"milliseconds of a step, and speed over {base}")
    for name in pipes:
        ratios = sorted(turn[base] / turn[name] for turn in turns)
        quarter = len(ratios) // 4
        print(
            f"  {name:22} {_median(turns, name) * 1e3:8.0f} ms   {statistics.median(ratios):5.2f} "
            f"(quartiles {ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f})"
        )


def _median(turns: list[dict[str, float]], name: str) -> float:
    return statistics.median(turn[name] for turn in turns)


def _run(name: str, arguments: argparse.Namespace, pipe: Connection) -> None:
    """Prepares one setting, then answers each number of steps with their seconds; ends at 0."""
    import time

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    os.environ["OMP_NUM_THREADS"] = str(arguments.cores)
    timed = _torch(name, arguments) if name in TWINS else _ours(name, arguments)
    if isinstance(timed, str):
        pipe.send(timed)
        return
    timed.block(2)
    pipe.send(time.process_time())
    while steps := pipe.recv():
        pipe.send(timed.block(steps))


def _ours(name: str, arguments: argparse.Namespace) -> Any:
    from softshare_jax.shell import environment

    convolution, keep = SETTINGS[name]
    if keep:
        environment.keep_memory()
    import jax

    from benchmarks.runs import Run, experiment
    from softshare_jax.errors import UserError

    jax.config.update("jax_enable_compilation_cache", False)
    try:
        return Run(
            experiment(
                arguments.network,
                convolution=convolution,
                batch_size=arguments.batch_size,
                scan_blocks=arguments.scan_blocks,
                steps_per_dispatch=arguments.steps_per_dispatch,
            )
        )
    except UserError as error:
        return str(error)


def _torch(name: str, arguments: argparse.Namespace) -> Any:
    import torch

    from benchmarks.speed.torch_throughput import TorchRun

    torch.set_num_threads(arguments.cores)
    return TorchRun(arguments, *TWINS[name])


if __name__ == "__main__":
    main()
