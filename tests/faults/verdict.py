"""What became of a fault, and the table of what became of many."""

import enum
import pathlib
import sys
from collections.abc import Iterable
from typing import NamedTuple, NoReturn

MARKS = "<!-- {} -->\n", "<!-- end of {} -->\n"


class Verdict(enum.Enum):
    """How a command took a fault; the first two are good ends."""

    RIGHT = "right"
    SAID = "said in one line"
    TRACEBACK = "traceback"
    WRONG = "silently wrong"
    LOST = "lost"

    @property
    def good(self) -> bool:
        """Whether it may be so."""
        return self in (Verdict.RIGHT, Verdict.SAID)


class Tried(NamedTuple):
    """One fault.

    Attributes:
        what: kind of fault, a row of the table.
        verdict: how it was taken.
        detail: what was done where, and what was said.
    """

    what: str
    verdict: Verdict
    detail: str

    def line(self) -> str:
        """Returns it as a line for people."""
        return f"{self.what}: {self.verdict.value}: {self.detail}"


def as_table(tried: Iterable[Tried]) -> str:
    """Returns a table in Markdown with a row for each kind of fault."""
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
    """Prints a line for each fault, then the table, and exits with 1 where one ended badly."""
    done = []
    for one in tried:
        done.append(one)
        print(one.line(), flush=True)
    print(as_table(done))
    sys.exit(any(not one.verdict.good for one in done))


def replace_table(page: pathlib.Path, name: str, table: str) -> None:
    """Replaces what stands between the marks of a name on a page."""
    begin, end = (mark.format(name) for mark in MARKS)
    before, _, rest = page.read_text().partition(begin)
    page.write_text(before + begin + table + end + rest.partition(end)[2])
