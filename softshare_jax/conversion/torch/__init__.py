"""Checkpoints of PyTorch, read without executing anything."""
