"""The parts of ``benchmarks/accelerator.py``, one file for each.

The accelerator belongs to one process at a time: a TPU admits no second one, and jax takes most of a GPU's
memory. So the command itself never touches it. Each part that needs it is a process of its own, and what one
finds the next one reads from the notes.
"""
