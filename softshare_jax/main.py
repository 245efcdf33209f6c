"""Trains or evaluates one run.

python -m softshare_jax.main --config=configs/quickstart.py --workdir=runs/quickstart
"""

import sys

from absl import flags

from softshare_jax import cli, config_flag
from softshare_jax.errors import UserError

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Folder of the run; one that holds a run goes on with it.")
flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "train, or evaluate the newest checkpoint.")


def main() -> None:
    """Reads the flags and hands a validated config on.

    Raises:
        UserError: a flag is missing or wrong.
    """
    if config_flag.wants_help(__doc__, __name__):
        return
    values = config_flag.parse(sys.argv)
    if not FLAGS.workdir:
        raise UserError("--workdir=DIR is missing (see --help)")
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


if __name__ == "__main__":
    cli.run(main)
