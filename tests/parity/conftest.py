"""PyTorch is an extra: where it is missing the tests against it are skipped."""

import importlib.util

# Collected for their doctests as every module is, which would import torch.
collect_ignore = [] if importlib.util.find_spec("torch") else ["checkpoints.py", "twin.py"]
