"""Says what a named network is: parameters, groups and FLOPs.

python -m softshare_jax.describe swrn-28-10-2 --num_classes=10 --json
"""

import argparse
import json
import sys

from softshare_jax import cli


def main() -> None:
    """Reads the arguments and prints the description."""
    arguments = _parse(sys.argv[1:])
    from softshare_jax.analysis.description import as_table, describe

    description = describe(arguments.name, arguments.num_classes)
    print(json.dumps(description, indent=1) if arguments.json else as_table(description))


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.Parser(prog="python -m softshare_jax.describe", description=__doc__.split("\n")[0])
    parser.add_argument("name", help="network, such as swrn-28-10-2 or cnn-20-32")
    parser.add_argument("--num_classes", type=int, default=10, help="of a classifier (10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(argv)
    if arguments.num_classes < 1:
        parser.error(f"--num_classes is 1 or more, not {arguments.num_classes}")
    return arguments


if __name__ == "__main__":
    cli.run(main)
