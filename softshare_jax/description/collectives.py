"""Finds the collectives of a compiled step in the text of its XLA module."""

import collections
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

KINDS = ("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "collective-permute")
_INSTRUCTION = re.compile(
    rf"\s*(?:ROOT )?(?P<name>\S+) = (?P<result>.*?) (?P<kind>{'|'.join(KINDS)})(?P<start>-start)?\((?!\))"
)
_ARRAY = re.compile(r"\b(?P<dtype>pred|[a-z]+\d+\w*)\[(?P<shape>[\d,]*)\]")
_GROUPS = re.compile(r"replica_groups=(?:\{\{(?P<first>[\d,]*)\}|\[\d+,(?P<size>\d+)\])")


class Sent(NamedTuple):
    """One array that a collective works on.

    Attributes:
        kind: one of ``KINDS``.
        shape: shape of the whole array, before a scatter or after a gather.
        bytes: size of the whole array.
        operation: name of the collective, which may work on several arrays.
    """

    kind: str
    shape: tuple[int, ...]
    bytes: int
    operation: str

    @property
    def numbers(self) -> int:
        """Number of elements of the array."""
        return math.prod(self.shape)


def sent(module: str, devices: int) -> Iterator[Sent]:
    """Yields the arrays of every collective in a module.

    A collective in a loop counts once.

    Args:
        module: ``compiled.as_text()``.
        devices: number of devices that the module was compiled for.
    """
    for line in module.splitlines():
        match = _INSTRUCTION.match(line)
        if match is None:
            continue
        arrays = [
            (a["dtype"], tuple(map(int, filter(None, a["shape"].split(",")))))
            for a in _ARRAY.finditer(match["result"])
        ]
        if match["start"] and match["kind"] in ("all-gather", "collective-permute"):
            # The result of these start operations holds inputs, outputs and counters.
            arrays = [array for array in arrays if array[1]]
            arrays = arrays[len(arrays) // 2 :]
        groups = _GROUPS.search(line)
        members = devices
        if groups:
            members = int(groups["size"]) if groups["size"] else len(groups["first"].split(","))
        for dtype, shape in arrays:
            whole = (members, *shape) if match["kind"] == "reduce-scatter" else shape
            yield Sent(match["kind"], whole, math.prod(whole) * _bits(dtype) // 8, match["name"])


def summarize(arrays: Iterable[Sent], weights: Iterable[tuple[int, ...]]) -> list[dict[str, Any]]:
    """Sums up the arrays of collectives by kind and role.

    Args:
        arrays: arrays of the collectives.
        weights: shapes of all trained variables. A reduced array with the size of a weight counts as its
            gradient, once per weight; further vectors are batch-norm means and the step's metrics.

    Returns:
        ``kind``, ``role``, ``operations``, ``arrays``, ``numbers`` and ``bytes`` of each, the largest first.
        ``operations`` is the number of collectives; one with arrays of two roles counts for both.
    """
    arrays = list(arrays)
    expected = collections.Counter(math.prod(shape) for shape in weights)
    carried: collections.Counter[str] = collections.Counter()
    for array in arrays:
        carried[array.operation] += array.numbers
    groups: dict[tuple[str, str], list[Sent]] = collections.defaultdict(list)
    # Batch-norm means have the size of a scale, and maybe that of a kernel. So assign kernels first: their
    # shapes are unambiguous, and other gradients travel with them.
    for array in sorted(arrays, key=lambda a: (_is_statistic(a.shape), -carried[a.operation])):
        role = "other"
        if array.kind == "all-gather":
            role = "weights" if expected[array.numbers] else "other"
        elif expected[array.numbers]:
            expected[array.numbers] -= 1
            role = "gradients"
        elif _is_statistic(array.shape):
            role = "batch-norm and metrics"
        groups[array.kind, role].append(array)
    rows = [
        {
            "kind": kind,
            "role": role,
            "operations": len({array.operation for array in group}),
            "arrays": len(group),
            "numbers": sum(array.numbers for array in group),
            "bytes": sum(array.bytes for array in group),
        }
        for (kind, role), group in groups.items()
    ]
    return sorted(rows, key=lambda row: -row["bytes"])


def _is_statistic(shape: tuple[int, ...]) -> bool:
    """Returns whether an array is a scalar, a vector over channels, or two stacked vectors."""
    long = [size for size in shape if size > 1]
    return len(long) < 2 or (len(long) == 2 and long[0] == 2)


def _bits(dtype: str) -> int:
    """Returns the bits per element of an XLA type such as ``bf16``."""
    return 8 if dtype == "pred" else int(re.findall(r"\d+", dtype)[0])
