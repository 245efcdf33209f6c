"""Runs: their folder, records, loop and evaluation."""
