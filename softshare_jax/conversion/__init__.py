"""Converts a run, or a PyTorch checkpoint, to another run or an export."""
