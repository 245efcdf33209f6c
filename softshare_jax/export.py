"""Writes a trained run as files that need neither the network's code nor Flax.

python -m softshare_jax.export --workdir=runs/quickstart --output=runs/quickstart-exported
"""

from softshare_jax.shell import ending

if __name__ == "__main__":
    ending.start()  # so that Ctrl-C is one line while the rest is imported

import argparse
import sys

from softshare_jax import paths
from softshare_jax.shell import cli


def main() -> None:
    """Reads the arguments, exports, and prints what was written and how near it is to the run."""
    arguments = _parse(sys.argv[1:])
    from softshare_jax.conversion.exporting import as_lines, export_run
    from softshare_jax.runs.workdir import Workdir
    from softshare_jax.shell import devices

    devices.check()
    output = paths.local(arguments.output)
    description = export_run(Workdir(arguments.workdir), output, arguments.step)
    print(f"{as_lines(description)}\n{output} can be run by softshare_jax.loader", flush=True)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.Parser("export", __doc__.split("\n")[0])
    parser.add_argument("--workdir", required=True, help="a trained run, folded or not; it is not changed")
    parser.add_argument("--output", required=True, help="folder to make")
    parser.add_argument("--step", type=int, help="checkpoint to export (default: the newest)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main)
