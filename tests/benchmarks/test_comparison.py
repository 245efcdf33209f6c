"""Runs of a comparison, several at a time, and their scores."""

import threading

import numpy as np
import pytest

from benchmarks.research import comparison


def test_results_come_in_the_order_of_the_runs():
    both = threading.Barrier(2, timeout=60)

    def run(number, letter):
        both.wait()  # two runs at a time, or this never ends
        return f"{number}{letter}"

    runs = [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert list(comparison.in_parallel(2, run, runs)) == ["1a", "2b", "3c", "4d"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_after_a_failure_no_further_run_begins(jobs):
    failed = threading.Event()
    begun = []

    def run(number):
        begun.append(number)
        if number == jobs - 1:
            failed.set()
            raise SystemExit(3)
        assert failed.wait(60)  # the first of two runs ends after the second one has failed

    with pytest.raises(SystemExit):
        list(comparison.in_parallel(jobs, run, [(number,) for number in range(100)]))
    assert begun == list(range(jobs))


def test_an_iterator_that_is_closed_starts_no_further_run():
    begun = []
    found = comparison.in_parallel(1, begun.append, [(number,) for number in range(1000)])
    next(found)
    found.close()
    assert len(begun) < 1000


def test_f1_over_the_pixels_of_all_grids():
    labels = np.array([[[1, 1], [1, 0]], [[0, 1], [1, 0]]], bool)
    found = np.array([[[1, 0], [0, 1]], [[0, 1], [0, 0]]], bool)
    # Precision 2/3, recall 2/5.
    assert comparison.f1(found, labels) == pytest.approx(2 / (3 / 2 + 5 / 2))
    assert comparison.f1(np.zeros_like(labels), np.zeros_like(labels)) == 0
