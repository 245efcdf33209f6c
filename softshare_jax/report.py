"""Writes a report of one or more runs: tables, figures and a self-contained report.html.

python -m softshare_jax.report --workdir=runs/quickstart --workdir=runs/quickstart-folded
"""

from softshare_jax.shell import ending

if __name__ == "__main__":
    ending.start()  # so that Ctrl-C during the imports prints one line

import argparse
import shlex
import sys

from softshare_jax import paths
from softshare_jax.shell import cli


def main() -> None:
    """Reads the arguments, writes the report, and prints its path."""
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
        help="folder of a run; may be given several times; the report is written to the first",
    )
    parser.add_argument(
        "--data_dir",
        default="",
        help="folder of data sets, for the test examples (default: ~/tensorflow_datasets; the data_dir in a "
        "run's config is ignored)",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main)
