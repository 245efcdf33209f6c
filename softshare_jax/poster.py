"""Writes the tables of the paper's poster as a page: what was published, counted and measured, row by row.

python -m softshare_jax.poster --output=docs/poster.md --workdir=runs/wrn-28-10 --workdir=runs/swrn-28-10-2
"""

from softshare_jax.shell import ending

if __name__ == "__main__":
    ending.start()  # so that Ctrl-C is one line while the rest is imported

import argparse
import shlex
import sys

from softshare_jax import paths
from softshare_jax.shell import cli


def main() -> None:
    """Reads the arguments, writes the page, and prints where it is."""
    arguments = _parse(sys.argv[1:])
    from softshare_jax.reporting.poster import write_poster
    from softshare_jax.runs.workdir import Workdir
    from softshare_jax.shell import devices

    devices.check()
    command = shlex.join(["python", "-m", "softshare_jax.poster", *sys.argv[1:]])
    write_poster(paths.local(arguments.output), [Workdir(workdir) for workdir in arguments.workdir], command)
    print(f"the tables are {arguments.output}", flush=True)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.Parser("poster", __doc__.split("\n")[0])
    parser.add_argument("--output", required=True, help="Markdown file to write")
    parser.add_argument(
        "--workdir",
        action="append",
        default=[],
        help="folder of a run of one of the networks; may be given several times, a row's seeds are averaged",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main)
