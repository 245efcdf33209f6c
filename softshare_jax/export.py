"""Exports a trained run to files that need neither the network's code nor Flax.

python -m softshare_jax.export --workdir=runs/quickstart --output=runs/quickstart-exported
"""

from softshare_jax.shell import ending

if __name__ == "__main__":
    ending.start()  # so that Ctrl-C during the imports prints one line

import argparse
import sys

from softshare_jax import paths
from softshare_jax.shell import cli


def main() -> None:
    """Reads the arguments, exports, and prints the files and their largest deviation from the run."""
    arguments = _parse(sys.argv[1:])
    from softshare_jax.conversion.exporting import as_lines, export_run
    from softshare_jax.runs.workdir import Workdir
    from softshare_jax.shell import devices

    devices.check()
    output = paths.local(arguments.output)
    description = export_run(Workdir(arguments.workdir), output, arguments.step, arguments.onnx)
    print(f"{as_lines(description)}\n{output} can be run with softshare_jax.loader", flush=True)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.Parser("export", __doc__.split("\n")[0])
    parser.add_argument("--workdir", required=True, help="a trained run, folded or not; it does not change")
    parser.add_argument("--output", required=True, help="folder to create")
    parser.add_argument("--step", type=int, help="checkpoint to export (default: the newest)")
    parser.add_argument(
        "--onnx", action="store_true", help="also write model.onnx (pip install 'softshare_jax[onnx]')"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main)
