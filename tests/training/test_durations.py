import pytest
from hypothesis import given
from hypothesis import strategies as st

from softshare_jax.errors import UserError
from softshare_jax.training.durations import is_due, next_due, to_steps


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("1000 steps", 1000),
        ("1 step", 1),
        ("3 epochs", 30),
        ("1 epoch", 10),
        ("0.5 epochs", 5),
        ("0.01 epochs", 1),
    ],
)
def test_durations(text, steps):
    assert to_steps(text, 10, "duration") == steps


@pytest.mark.parametrize(
    "text", ["", "1000", "steps", "0 steps", "-1 epochs", "1.5 steps", "2 hours", "1e3 steps"]
)
def test_invalid_durations(text):
    with pytest.raises(UserError, match=r"log_every is '.*'; it must be a duration such as '1000 steps'"):
        to_steps(text, 10, "log_every")


@pytest.mark.parametrize("text", ["99999999999 steps", f"{10**400} steps", "999999999 epochs"])
def test_durations_that_are_too_long(text):
    with pytest.raises(UserError, match=r"duration is '.*'; it must be at most 2147483647 steps"):
        to_steps(text, 10, "duration")


@given(st.lists(st.integers(1, 20), min_size=1, max_size=3), st.integers(1, 60), st.integers(1, 8))
def test_walking_from_due_to_due_meets_every_due_step_and_the_last(everies, last, most):
    step, visited = 0, []
    while step < last:
        step += min(next_due(step, everies, last) - step, most)
        visited.append(step)
    assert visited[-1] == last
    assert visited == sorted(set(visited))
    for every in everies:
        assert [s for s in range(1, last + 1) if is_due(s, every, last)] == [
            s for s in visited if is_due(s, every, last)
        ]
