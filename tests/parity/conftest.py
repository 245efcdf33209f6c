"""Tests against PyTorch are skipped if it is not installed."""

import importlib.util

# pytest collects these modules for doctests, which would import torch.
collect_ignore = [] if importlib.util.find_spec("torch") else ["checkpoints.py", "twin.py"]
