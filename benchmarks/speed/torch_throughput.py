"""Images per second in training: our step against a PyTorch twin of the network on the same machine.

    python -m benchmarks.speed.torch_throughput --network=swrn-28-1-2

First times the twin (tests/parity/twin.py) in each setting of memory layout and torch.compile. Then runs
ours and the fastest setting in turns. The twin's batch is ready on the device; ours is gathered and
augmented in the step. Needs the extra ``parity``.
"""

import argparse
import math
import statistics
import time
from typing import Any

import jax
import torch

from benchmarks.runs import Run, Timed, experiment, interleave, machine, parser, ratio
from softshare_jax.errors import UserError, one_line
from softshare_jax.shell import cli
from softshare_jax.training.experiment import Experiment
from tests.parity.twin import Twin, optimizer, twin_of

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    """Measures and prints."""
    flags = parser(__doc__)
    flags.add_argument("--network", default="swrn-28-1-2")
    flags.add_argument("--eager", action="store_true", help="without torch.compile, which takes a minute")
    arguments = flags.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    fields = {"batch_size": arguments.batch_size, "dtype": arguments.dtype, "steps_per_dispatch": 1}
    compare(experiment(arguments.network, **fields), arguments)


def compare(ours: Experiment, arguments: argparse.Namespace, until: float = math.inf) -> dict[str, Any]:
    """Times the twin in each setting, then ours and the fastest of these in turns.

    Args:
        ours: our training of the same network.
        arguments: ``network``, ``batch_size``, ``dtype``, ``pairs``, ``block`` and ``eager``.
        until: time (``time.time()``) after which no other setting of the twin is tried.

    Returns:
        JSON values: the fastest ``layout`` and whether it is ``compiled``; the images per second of ``ours``
        and of ``torch``; and ``ours_over_torch``, the median ratio of neighboring blocks.

    Raises:
        UserError: the network has no twin, or PyTorch does not see the device of jax.
    """
    if (platform := jax.default_backend()) != {"cuda": "gpu"}.get(DEVICE, DEVICE):
        raise UserError(f"PyTorch sees a {DEVICE} device, and jax a {platform}")
    print(machine() + f", torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    seconds: dict[tuple[str, bool], float] = {}
    for compiled in (False,) if arguments.eager else (False, True):
        for layout in ("contiguous", "channels_last"):
            if seconds and time.time() > until:
                continue
            try:
                candidate = TorchRun(arguments, layout, compiled)
                candidate.block(2)
                seconds[layout, compiled] = candidate.block(arguments.block) / arguments.block
            except UserError:  # there is no twin
                raise
            except Exception as error:  # torch.compile needs a compiler, which may be missing
                print(f"  torch {layout}, compile={compiled}: {one_line(error, 120)}", flush=True)
                continue
            rate = arguments.batch_size / seconds[layout, compiled]
            print(f"  torch {layout}, compile={compiled}: {rate:.1f} images/s", flush=True)
    if not seconds:
        raise UserError("the twin runs in no setting")
    best = min(seconds, key=lambda setting: seconds[setting])

    both: dict[str, Timed] = {"ours": Run(ours), "torch": TorchRun(arguments, *best)}
    turns = interleave(both, arguments.pairs, arguments.block)
    rates = {name: arguments.batch_size / statistics.median(turn[name] for turn in turns) for name in both}
    for name, rate in rates.items():
        print(f"  {name:5} {rate:9.1f} images/s")
    print(f"  throughput, ours over torch ({best[0]}, compile={best[1]}): {ratio(turns, 'torch', 'ours')}")
    return {
        "version": torch.__version__,
        "layout": best[0],
        "compiled": best[1],
        **{name: round(rate, 1) for name, rate in rates.items()},
        "ours_over_torch": round(statistics.median(turn["torch"] / turn["ours"] for turn in turns), 4),
    }


class TorchRun:
    """The twin in training."""

    def __init__(self, arguments, layout: str, compiled: bool):
        """Builds the twin in a memory layout, compiled or eager.

        Raises:
            UserError: the network has no twin.
        """
        torch.backends.cudnn.benchmark = True
        memory = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[layout]
        try:
            net: Any = twin_of(arguments.network).to(DEVICE)
        except ValueError as error:
            raise UserError(str(error)) from None
        for conv in (module for module in net.modules() if isinstance(module, torch.nn.Conv2d)):
            # Convert layer by layer, because a bank of templates has five dimensions.
            conv.weight.data = conv.weight.data.to(memory_format=memory)
        classifies = isinstance(net, Twin)
        self.optimizer = optimizer(net, 0.1, 5e-4) if classifies else torch.optim.Adam(net.parameters())
        self.net = torch.compile(net) if compiled else net
        batch, channels = arguments.batch_size, 3 if classifies else 2
        self.images = torch.randn(batch, channels, 32, 32, device=DEVICE).to(memory_format=memory)
        if classifies:
            self.labels = torch.randint(0, 10, (batch,), device=DEVICE)
            self.loss: Any = torch.nn.functional.cross_entropy
        else:
            self.labels = torch.randint(0, 2, (batch, 32, 32), device=DEVICE).float()
            self.loss = torch.nn.functional.binary_cross_entropy_with_logits
        self.half = arguments.dtype == "bfloat16"

    def block(self, steps: int) -> float:
        """Returns the seconds of a number of steps."""
        start = time.perf_counter()
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast(DEVICE, torch.bfloat16, enabled=self.half):
                loss = self.loss(self.net(self.images), self.labels)
            loss.backward()
            self.optimizer.step()
        loss.item()
        return time.perf_counter() - start


if __name__ == "__main__":
    cli.run(main)
