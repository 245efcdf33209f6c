"""What is measured outside of tests: `python -m benchmarks.NAME --help`."""
