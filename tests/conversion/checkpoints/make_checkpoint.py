"""Writes the named PyTorch checkpoint of a few tensors into the current folder.

    python make_checkpoint.py since-1.6.pt     PyTorch 2.13, Python 3.11
    python make_checkpoint.py until-1.5.pt     the same in the older format
    python make_checkpoint.py python-2.pt      PyTorch 1.4, Python 2.7, as the authors used

The script also runs in Python 2.7. The content is that of a training script: tensors of several kinds, NumPy
numbers, and an object of the script's own class.
"""

import collections
import sys

import numpy as np


class RecorderMeter(object):  # noqa: UP004 (Python 2 has two kinds of classes)
    """Curves of a run."""

    def __init__(self, epochs):
        self.total_epoch = epochs
        self.epoch_losses = np.zeros((epochs, 2), np.float32) - 1
        self.best = np.float64(95.5)


def content():
    """Returns what a script saves after three epochs."""
    import torch  # tests import this file without PyTorch

    numbers = torch.arange(24, dtype=torch.float32)
    state = collections.OrderedDict(
        [
            ("module.whole", numbers.reshape(2, 3, 4)),
            ("module._orig_mod.turned", torch.nn.Parameter(torch.arange(6.0).reshape(2, 3).t())),
            ("module.part", numbers[5:9]),
            ("module.half", torch.tensor([0.0, 0.5, 1.0]).half()),
            ("module.bfloat", torch.tensor([0.0, 0.25, 0.5]).to(torch.bfloat16)),
            ("module.double", torch.tensor([0.0, 0.125, 0.25]).double()),
            ("module.one", torch.tensor(0.5)),
            ("module.norm.num_batches_tracked", torch.tensor(7)),
        ]
    )
    best = np.float64(95.5)
    return {"epoch": np.int64(3), "best_prec1": best, "state_dict": state, "recorder": RecorderMeter(200)}


if __name__ == "__main__":
    import torch

    old = {} if sys.argv[1] != "until-1.5.pt" else {"_use_new_zipfile_serialization": False}
    torch.save(content(), sys.argv[1], **old)
