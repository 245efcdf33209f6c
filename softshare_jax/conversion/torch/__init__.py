"""Reads PyTorch checkpoints without executing their code."""
