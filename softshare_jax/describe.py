"""Says what a named network is: parameters, groups and FLOPs.

python -m softshare_jax.describe scnn-20-32 --json
"""

import argparse
import json
import sys

from softshare_jax import cli


def main() -> None:
    """Reads the arguments and prints the description."""
    arguments = _parse(sys.argv[1:])
    from softshare_jax.analysis.description import as_table, describe

    description = describe(arguments.name)
    print(json.dumps(description, indent=1) if arguments.json else as_table(description))


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.Parser(prog="python -m softshare_jax.describe", description=__doc__.split("\n")[0])
    parser.add_argument("name", help="network, such as scnn-20-32 or cnn-20-32")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main)
