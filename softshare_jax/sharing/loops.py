"""Detection of loops in a sequence of layers: "1 2 (3 4)×4"."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Union


@dataclasses.dataclass(frozen=True)
class Loop:
    """A body of layers and inner loops that runs ``times`` times in a row."""

    body: tuple[Union[int, "Loop"], ...]
    times: int

    def __str__(self) -> str:
        return f"({format_loops(self.body)})×{self.times}"


Step = int | Loop
# ``((layers written, loops), steps)``
_Written = tuple[tuple[int, int], tuple[Step, ...]]


def find_loops(layers: Sequence[int]) -> tuple[Step, ...]:
    """Writes a sequence of layers as loops, with as few layers as possible.

    >>> format_loops(find_loops([0, 1, 2, 3, 2, 3, 2, 3, 2, 3]))
    '1 2 (3 4)×4'

    Args:
        layers: index of the layer that runs at each position, from 0.

    Returns:
        Layer indices and loops that unroll to the sequence; loops may contain loops. Of the shortest
        results it is one with the fewest loops, as early as possible.
    """
    sequence = tuple(layers)

    @functools.cache
    def shortest(start: int, stop: int) -> _Written:
        """Returns the shortest way to write ``sequence[start:stop]``."""
        if stop - start == 0:
            return (0, 0), ()
        candidates: list[_Written] = []
        for period in range(1, (stop - start) // 2 + 1):
            end = start + period
            if sequence[end] != sequence[start]:
                continue
            body = sequence[start:end]
            # A body that repeats a shorter one is no shorter to write, and has one more loop.
            if any(period % part == 0 and body[part:] == body[:-part] for part in range(1, period // 2 + 1)):
                continue
            while sequence[end : end + period] == body and end + period <= stop:
                end += period
                cost, steps = solve(start, start + period)
                loop = Loop(steps, (end - start) // period)
                candidates.append(_add((cost[0], cost[1] + 1), loop, shortest(end, stop)))
        candidates.append(_add((1, 0), sequence[start], shortest(start + 1, stop)))
        return min(candidates, key=lambda candidate: candidate[0])

    def solve(start: int, stop: int) -> _Written:
        """Returns ``shortest(start, stop)``, from the end, so that recursion stays shallow."""
        for first in reversed(range(start, stop)):
            shortest(first, stop)
        return shortest(start, stop)

    return solve(0, len(sequence))[1]


def _add(cost: tuple[int, int], step: Step, rest: _Written) -> _Written:
    (written, loops), steps = rest
    return (cost[0] + written, cost[1] + loops), (step, *steps)


def unroll(steps: Sequence[Step]) -> tuple[int, ...]:
    """Returns layer indices in the order in which the layers run: the inverse of ``find_loops``."""
    order: list[int] = []
    for step in steps:
        order += unroll(step.body) * step.times if isinstance(step, Loop) else [step]
    return tuple(order)


def format_loops(steps: Sequence[Step]) -> str:
    """Returns steps as text, with layers counted from 1."""
    return " ".join(str(step) if isinstance(step, Loop) else str(step + 1) for step in steps)
