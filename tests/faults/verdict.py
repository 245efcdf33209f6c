"""The outcome of a fault, and the table of many outcomes."""

import enum
import pathlib
import sys
from collections.abc import Iterable
from typing import NamedTuple, NoReturn

MARKS = "<!-- {} -->\n", "<!-- end of {} -->\n"


class Verdict(enum.Enum):
    """How a command handled a fault; the first two are good outcomes."""

    RIGHT = "right"
    SAID = "said in one line"
    TRACEBACK = "traceback"
    WRONG = "silently wrong"
    LOST = "lost"

    @property
    def good(self) -> bool:
        """Whether the outcome is acceptable."""
        return self in (Verdict.RIGHT, Verdict.SAID)


class Tried(NamedTuple):
    """One fault.

    Attributes:
        what: kind of fault, a row of the table.
        verdict: how the command handled it.
        detail: the fault, its place, and the output.
    """

    what: str
    verdict: Verdict
    detail: str

    def line(self) -> str:
        """Returns the outcome as a line of text."""
        return f"{self.what}: {self.verdict.value}: {self.detail}"


def as_table(tried: Iterable[Tried]) -> str:
    """Returns a Markdown table with a row for each kind of fault."""
    rows: dict[str, list[Verdict]] = {}
    for one in tried:
        rows.setdefault(one.what, []).append(one.verdict)
    head = ["fault", "tried", *(verdict.value for verdict in Verdict)]
    lines = [" | ".join(head), " | ".join(["---"] * len(head))]
    for what, verdicts in rows.items():
        counts = [len(verdicts), *(verdicts.count(verdict) for verdict in Verdict)]
        lines.append(" | ".join([what, *map(str, counts)]))
    return "".join(f"| {line} |\n" for line in lines)


def report(tried: Iterable[Tried]) -> NoReturn:
    """Prints a line for each fault, then the table; exits with 1 if an outcome is bad."""
    done = []
    for one in tried:
        done.append(one)
        print(one.line(), flush=True)
    print(as_table(done))
    sys.exit(any(not one.verdict.good for one in done))


def update_table(page: pathlib.Path, name: str, tried: Iterable[Tried]) -> None:
    """Updates the table between the marks of a name on a page; the rows of kinds that were not tried stay."""
    begin, end = (mark.format(name) for mark in MARKS)
    before, _, rest = page.read_text().partition(begin)
    old, _, after = rest.partition(end)
    rows = {line.split("|")[1]: line for line in (old + as_table(tried)).splitlines(keepends=True)}
    page.write_text(before + begin + "".join(rows.values()) + end + after)
