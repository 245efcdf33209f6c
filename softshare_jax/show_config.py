"""Prints a complete config as JSON, without training.

softshare config --config=cifar10:swrn-28-10-2 --config.batch_size=256
"""

from softshare_jax.shell import ending

if __name__ == "__main__":
    ending.start()  # so that Ctrl-C during the imports prints one line

import json
import sys
from typing import Any

from softshare_jax.config import from_dict
from softshare_jax.errors import UserError
from softshare_jax.shell import cli, config_flag


def main() -> None:
    """Reads the flags and prints the complete config.

    Raises:
        UserError: a flag or a field is wrong, or ``--config`` is missing.
    """
    if config_flag.wants_help(__doc__, __name__):
        return
    values = config_flag.parse(sys.argv, _none_stored)
    print(json.dumps(from_dict(values or _none_stored()).to_dict(), indent=1))


def _none_stored() -> dict[str, Any]:
    raise UserError("--config=NAME or --config=FILE.py is missing (see --help)")


if __name__ == "__main__":
    cli.run(main)
