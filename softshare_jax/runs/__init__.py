"""Runs: workdir, records, training loop and evaluation."""
