"""Benchmarks outside of the tests: `python -m benchmarks.speed.NAME --help`, and so on.

``speed`` measures time, rates and sizes; ``research`` asks what sharing does, and trains networks for it.
``accelerator`` and its parts in ``rented`` do both on a rented GPU or TPU.
"""
