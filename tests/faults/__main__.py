"""Runs the fault suite, except strikes.py, and updates its table.

python -m tests.faults --table=docs/reliability.md
"""

import argparse
import pathlib
import sys
from collections.abc import Callable, Iterator

from tests.faults import beside, calls, hostile, malformed, power
from tests.faults.verdict import Tried, as_table, update_table

SUITES: dict[str, Callable[[argparse.Namespace], Iterator[Tried]]] = {
    "malformed": lambda given: malformed.run(given.cases, given.seed, given.workers),
    "power": lambda given: power.run(given.cuts, given.seed),
    "calls": lambda given: calls.run(given.every),
    "beside": lambda given: beside.run(given.rounds),
    "hostile": lambda given: hostile.run(),
}


def main() -> None:
    """Runs the suites, prints a line for each bad outcome, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--suites", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument("--cases", type=int, default=1000, help="damaged files (1000)")
    parser.add_argument("--cuts", type=int, default=20, help="of the power (20)")
    parser.add_argument("--every", type=int, default=40, help="n: of the calls every n-th fails (40)")
    parser.add_argument("--rounds", type=int, default=5, help="of commands beside each other (5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that read damaged files (2)")
    parser.add_argument("--table", type=pathlib.Path, help="page whose table gets the rows of these suites")
    arguments = parser.parse_args()
    tried: list[Tried] = []
    for suite in arguments.suites:
        for one in SUITES[suite](arguments):
            tried.append(one)
            if not one.verdict.good:
                print(one.line(), flush=True)
            elif len(tried) % 20 == 0:
                print(f"{suite}: {len(tried)} tried", flush=True)
    print(as_table(tried))
    if arguments.table:
        update_table(arguments.table, "verdicts", tried)
    sys.exit(any(not one.verdict.good for one in tried))


if __name__ == "__main__":
    main()
