"""Benchmarks outside of the tests: `python -m benchmarks.NAME --help`."""
