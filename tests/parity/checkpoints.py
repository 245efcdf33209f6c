"""PyTorch checkpoints as training scripts leave them behind, saved by PyTorch itself."""

import collections
import contextlib
import pathlib
import pickle
import struct
import sys
import types
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn


def theirs(twin: nn.Module, epoch: Any = 150) -> dict[str, Any]:
    """What the paper's authors save after an epoch, but for the object that ``recorder`` makes.

    The network is wrapped for several GPUs, and each bank stands again under everything that refers to it.
    """
    state = nn.DataParallel(twin).state_dict()
    optimizer = torch.optim.SGD(twin.parameters(), 0.1, momentum=0.9, nesterov=True)
    for parameter in twin.parameters():
        parameter.grad = torch.ones_like(parameter)
    kept = {name: tensor.clone() for name, tensor in twin.state_dict().items()}
    optimizer.step()
    twin.load_state_dict(kept)
    return {"epoch": epoch, "arch": "swrn", "state_dict": state, "optimizer": optimizer.state_dict()}


@contextlib.contextmanager
def recorder(module: str = "utils") -> Iterator[Any]:
    """Yields an object of a class ``RecorderMeter`` that lies in a module of that name, and only here."""

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


def small() -> dict[str, Any]:
    """A few tensors of all kinds that a checkpoint has, which ``save_small`` wrote into tests/checkpoints."""
    numbers = torch.arange(24, dtype=torch.float32)
    state = collections.OrderedDict(
        {
            "module.whole": numbers.reshape(2, 3, 4),
            "module._orig_mod.turned": nn.Parameter(torch.arange(6.0).reshape(2, 3).t()),
            "module.part": numbers[5:9],
            "module.half": torch.arange(3).half() / 2,
            "module.bfloat": torch.arange(3).bfloat16() / 4,
            "module.double": torch.arange(3).double() / 8,
            "module.one": torch.tensor(0.5),
            "module.norm.num_batches_tracked": torch.tensor(7),
        }
    )
    return {"epoch": np.int64(3), "best_prec1": np.float64(95.5), "state_dict": state}


def save_small(folder: pathlib.Path) -> None:
    """Writes ``small`` in the formats of PyTorch, with an object of a class of somebody's own.

    ``python -c "import pathlib; from tests.parity import checkpoints;
    checkpoints.save_small(pathlib.Path('tests/checkpoints'))"`` made the files there, with PyTorch 2.13.
    """
    with recorder() as meter:
        content = {**small(), "recorder": meter}
        torch.save(content, folder / "since-1.6.pt")
        torch.save(content, folder / "until-1.5.pt", _use_new_zipfile_serialization=False)
        save_as_python2(content, folder / "python-2.pt")


def save_as_python2(content: Any, file: pathlib.Path) -> None:
    """Saves as PyTorch up to 1.5 did in Python 2, which the authors' code is written for.

    Texts and bytes are of one type there, and written as bytes.
    """
    torch.save(content, file, pickle_module=_Python2, _use_new_zipfile_serialization=False)


class _Pickler(pickle._Pickler):
    """Writes texts and bytes by the opcodes of Python 2."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, text):
        data = text.encode("latin1") if isinstance(text, str) else text
        short = len(data) < 256
        self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) if short else pickle.BINSTRING)
        self.write(data if short else struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_text


class _Python2:
    """What ``torch.save`` takes for the module ``pickle``."""

    __name__ = "pickle"
    Pickler = _Pickler

    @staticmethod
    def dump(content, file, protocol=None):
        """As ``pickle.dump``."""
        _Pickler(file, protocol).dump(content)
