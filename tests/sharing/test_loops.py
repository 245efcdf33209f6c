import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softshare_jax.sharing import Loop, find_loops, format_loops, unroll


def written(steps):
    """Returns the number of layers in the text, loops counted once."""
    return sum(written(step.body) if isinstance(step, Loop) else 1 for step in steps)


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ([], ""),
        ([0], "1"),
        ([0, 1, 2, 3], "1 2 3 4"),
        ([0] * 10, "(1)×10"),
        ([0, 1, 2, 3, 2, 3, 2, 3, 2, 3], "1 2 (3 4)×4"),
        ([0, 0, 1, 0, 0, 1, 2], "((1)×2 2)×2 3"),
        ([0, 1, 0], "1 2 1"),
        ([5, 5], "(6)×2"),
    ],
)
def test_text(layers, text):
    assert format_loops(find_loops(layers)) == text


@given(st.lists(st.integers(0, 3), max_size=24))
def test_unrolled_loops_are_the_sequence(layers):
    assert unroll(find_loops(layers)) == tuple(layers)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
    st.integers(2, 6),
    st.lists(st.integers(6, 9), max_size=3),
)
def test_a_loop_is_found(body, times, tail):
    steps = find_loops([*body * times, *tail])
    assert written(steps) <= len(body) + len(tail)


def test_nothing_shorter_exists():
    # All sequences of six layers of two kinds, against a search over all notations.
    def shortest(sequence):
        if not sequence:
            return 0
        best = 1 + shortest(sequence[1:])
        for period, times in itertools.product(range(1, 4), range(2, 7)):
            if sequence[: period * times] == sequence[:period] * times:
                best = min(best, shortest(sequence[:period]) + shortest(sequence[period * times :]))
        return best

    for sequence in itertools.product((0, 1), repeat=6):
        assert written(find_loops(sequence)) == shortest(sequence)


def test_many_layers():
    """More layers than Python's recursion is deep."""
    assert find_loops(range(1200)) == tuple(range(1200))
    body = tuple(range(600))
    assert format_loops(find_loops(body * 2)) == f"({format_loops(body)})×2"


def test_a_long_loop_is_found_fast():
    assert format_loops(find_loops([0] * 400)) == "(1)×400"
    assert format_loops(find_loops([0, 1, 1] * 100)) == "(1 (2)×2)×100"
