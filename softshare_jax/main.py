"""Trains or evaluates one run.

python -m softshare_jax.main --config=configs/quickstart.py --workdir=runs/quickstart
"""

import sys
from typing import Any

from absl import flags
from ml_collections import config_flags

from softshare_jax import cli
from softshare_jax.errors import UserError

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file(
    "config", None, "Config file, as FILE or FILE:VARIANT; any field is set by --config.FIELD=VALUE."
)
flags.DEFINE_string("workdir", None, "Folder of the run; one that holds a run goes on with it.")
flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "train, or evaluate the newest checkpoint.")


def main() -> None:
    """Reads the flags and hands a validated config on."""
    if {"-h", "--help"} & set(sys.argv):
        print(f"{__doc__}\n{FLAGS.module_help(sys.modules[__name__])}")
        return
    values = _parse(sys.argv)
    # Here, so that --help and a mistyped flag answer before jax is imported.
    from softshare_jax.analysis.evaluation import evaluate
    from softshare_jax.training import config as config_lib
    from softshare_jax.training.loop import train
    from softshare_jax.training.workdir import Workdir

    config = None if values is None else config_lib.from_dict(values)
    workdir = Workdir(FLAGS.workdir)
    if FLAGS.mode == "train":
        train(config, workdir)
    else:
        evaluate(config, workdir)


def _parse(argv: list[str]) -> dict[str, Any] | None:
    """Parses the flags and returns the config's values; what goes wrong there is the user's."""
    try:
        extra = FLAGS(argv)[1:]
        # A config file that cannot be loaded says so only when it is used.
        values = None if FLAGS.config is None else FLAGS.config.to_dict()
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError, SyntaxError) as error:
        raise UserError(" ".join(str(error).split())) from error
    if extra:
        raise UserError(f"{extra[0]!r} is not a flag (see --help)")
    if not FLAGS.workdir:
        raise UserError("--workdir=DIR is missing (see --help)")
    return values


if __name__ == "__main__":
    cli.run(main)
