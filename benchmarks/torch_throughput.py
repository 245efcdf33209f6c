"""Images per second in training: our step against a PyTorch twin of the network on the same machine.

    python -m benchmarks.torch_throughput --network=swrn-28-1-2

First times the twin (tests/parity/twin.py) in each setting of memory layout and torch.compile. Then runs
ours and the fastest setting in turns. The twin's batch is ready on the device; ours is gathered and
augmented in the step. Needs the extra ``parity``.
"""

import statistics
import time
from typing import Any

import jax
import torch

from benchmarks.runs import Run, experiment, interleave, machine, parser, ratio
from tests.parity.twin import Twin, optimizer, twin_of

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    """Measures and prints."""
    flags = parser(__doc__)
    flags.add_argument("--network", default="swrn-28-1-2")
    arguments = flags.parse_args()
    fields = {"batch_size": arguments.batch_size, "dtype": arguments.dtype, "steps_per_dispatch": 1}
    print(machine() + f", torch {torch.__version__}, {torch.get_num_threads()} threads")
    ours = Run(experiment(arguments.network, **fields))

    settings = [
        (layout, compiled) for layout in ("contiguous", "channels_last") for compiled in (False, True)
    ]
    seconds = {}
    for layout, compiled in settings:
        try:
            candidate = TorchRun(arguments, layout, compiled)
            candidate.block(2)
            seconds[layout, compiled] = candidate.block(arguments.block) / arguments.block
        except Exception as error:  # torch.compile needs a compiler, which may be missing
            print(f"  torch {layout}, compile={compiled}: {type(error).__name__}")
            continue
        rate = arguments.batch_size / seconds[layout, compiled]
        print(f"  torch {layout}, compile={compiled}: {rate:.1f} images/s")
    best = min(seconds, key=lambda setting: seconds[setting])

    turns = interleave({"ours": ours, "torch": TorchRun(arguments, *best)}, arguments.pairs, arguments.block)
    for name in ("ours", "torch"):
        rate = arguments.batch_size / statistics.median(turn[name] for turn in turns)
        print(f"  {name:5} {rate:9.1f} images/s")
    print(f"  throughput, ours over torch ({best[0]}, compile={best[1]}): {ratio(turns, 'torch', 'ours')}")


class TorchRun:
    """The twin in training."""

    def __init__(self, arguments, layout: str, compiled: bool):
        """Builds the twin in a memory layout, compiled or eager."""
        torch.backends.cudnn.benchmark = True
        memory = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[layout]
        try:
            net: Any = twin_of(arguments.network).to(DEVICE)
        except ValueError as error:
            raise SystemExit(str(error)) from None
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
    jax.config.update("jax_enable_compilation_cache", False)
    main()
