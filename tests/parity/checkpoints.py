"""PyTorch checkpoints as training scripts leave them behind, saved by PyTorch itself."""

import contextlib
import pathlib
import sys
import types
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn


def theirs(twin: nn.Module, epoch: Any = 150) -> dict[str, Any]:
    """Returns what the paper's authors save after an epoch, without the ``recorder`` object.

    The network is wrapped for several GPUs, and each bank appears again under every layer that refers to it.
    """
    state = nn.DataParallel(twin).state_dict()
    optimizer = torch.optim.SGD(twin.parameters(), 0.1, momentum=0.9, nesterov=True)
    for parameter in twin.parameters():
        parameter.grad = torch.ones_like(parameter)
    kept = {name: tensor.clone() for name, tensor in twin.state_dict().items()}
    optimizer.step()
    twin.load_state_dict(kept)
    return {"epoch": epoch, "arch": "swrn", "state_dict": state, "optimizer": optimizer.state_dict()}


def save_theirs(twin: nn.Module, file: pathlib.Path) -> pathlib.Path:
    """Saves all that the paper's authors save after an epoch, and returns the file."""
    with recorder() as of_unknown_class:
        torch.save({**theirs(twin), "recorder": of_unknown_class}, file)
    assert "utils" not in sys.modules
    return file


@contextlib.contextmanager
def recorder(module: str = "utils") -> Iterator[Any]:
    """Yields an object of class ``RecorderMeter`` from a module that exists only in this context."""

    class RecorderMeter:
        def __init__(self, epochs: int):
            self.total_epoch, self.current_epoch = epochs, epochs - 1
            self.epoch_losses = np.zeros((epochs, 2), np.float32) - 1
            self.epoch_accuracy = np.random.default_rng(0).uniform(size=(epochs, 2)).astype(np.float32)
            self.best = self.epoch_accuracy.max().astype(np.float64)

    RecorderMeter.__module__, RecorderMeter.__qualname__ = module, "RecorderMeter"
    there = sys.modules.get(module)
    sys.modules[module] = holder = types.ModuleType(module)
    holder.RecorderMeter = RecorderMeter  # type: ignore[attr-defined]
    try:
        yield RecorderMeter(200)
    finally:
        sys.modules.pop(module)
        if there is not None:
            sys.modules[module] = there


def rewritten(file, output, compression=zipfile.ZIP_STORED, **entries):
    """Copies an archive, with entries replaced by the last part of their name, or added."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(output, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, entries.pop(name.rpartition("/")[2], old.read(name)))
        for name, content in entries.items():
            new.writestr(f"archive/{name}", content)
    return output
