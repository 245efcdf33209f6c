"""Runs of a comparison, several at a time."""

import threading

import pytest

from benchmarks import comparison


def test_results_come_in_the_order_of_the_runs():
    both = threading.Barrier(2, timeout=60)

    def run(number, letter):
        both.wait()  # two runs at a time, or this never ends
        return f"{number}{letter}"

    runs = [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert list(comparison.in_parallel(2, run, runs)) == ["1a", "2b", "3c", "4d"]


def test_after_a_failure_no_further_run_begins():
    begun = []

    def run(number):
        begun.append(number)
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        list(comparison.in_parallel(1, run, [(number,) for number in range(100)]))
    assert len(begun) < 100
