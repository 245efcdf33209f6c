"""Writes a report of one or more runs: tables, figures and report.html, which needs nothing else.

python -m softshare_jax.report --workdir=runs/quickstart --workdir=runs/quickstart-folded
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
    """Reads the arguments, writes the report, and prints where it is."""
    arguments = _parse(sys.argv[1:])
    from softshare_jax.reporting.write import write_report
    from softshare_jax.runs.workdir import Workdir
    from softshare_jax.shell import devices

    devices.check()
    data_dir = str(paths.local(arguments.data_dir)) if arguments.data_dir else ""
    command = shlex.join(["softshare", "report", *sys.argv[1:]])
    file = write_report([Workdir(workdir) for workdir in arguments.workdir], data_dir, command)
    print(f"the report is {file}", flush=True)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.Parser("report", __doc__.split("\n")[0])
    parser.add_argument(
        "--workdir",
        required=True,
        action="append",
        help="folder of a run; may be given several times, the report is written into the first",
    )
    parser.add_argument(
        "--data_dir",
        default="",
        help="folder of data sets, for the test examples (default: ~/tensorflow_datasets; the folder that a "
        "run was trained with is not read)",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main)
