"""Trains or evaluates one run.

python -m softshare_jax.main --config=configs/quickstart.py --workdir=runs/quickstart

Exit codes: 0 at the end of the run; 143 after SIGTERM and 130 after Ctrl-C, both after saving a checkpoint
(the same command resumes from it); 2 for a user's mistake; 1 for any other fault.
"""

from softshare_jax.shell import ending

if __name__ == "__main__":
    ending.start()  # so that Ctrl-C during the imports prints one line

import sys
from typing import Any

from absl import flags

from softshare_jax.errors import UserError
from softshare_jax.shell import cli, config_flag, logs

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Folder of the run; an existing run resumes.")
flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "train, or evaluate the newest checkpoint.")
flags.DEFINE_integer(
    "layers",
    None,
    "With --mode=evaluate, for a folded run: evaluate a network of this depth, in which loops run more or "
    "less often.",
    lower_bound=1,
)
flags.DEFINE_string(
    "coordinator_address", None, "For several processes: HOST:PORT of process 0, if jax cannot detect it."
)
flags.DEFINE_integer(
    "num_processes",
    None,
    "Number of processes, if jax cannot detect it; 1 ignores what jax detects.",
    lower_bound=1,
)
flags.DEFINE_integer("process_id", None, "Index of this process, if jax cannot detect it.", lower_bound=0)
flags.DEFINE_integer(
    "heartbeat_timeout_seconds",
    60,
    "A process that is silent for this long counts as dead, and all others end.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "join_timeout_seconds",
    None,
    "How long a process waits for the others at the start (default: 60 under Slurm or Open MPI, which start "
    "all at once; otherwise 300).",
    lower_bound=1,
)


def main() -> None:
    """Reads the flags, then trains or evaluates.

    Raises:
        UserError: a flag is missing or wrong.
    """
    if config_flag.wants_help(__doc__, __name__):
        return
    values = config_flag.parse(sys.argv, _stored_values)
    _check_workdir()
    if FLAGS.layers is not None and FLAGS.mode != "evaluate":
        raise UserError("--layers applies to evaluation only; softshare convert --folded makes a deeper run")
    # Imported here, so that --help and flag errors need not wait for jax.
    from softshare_jax import config as config_lib
    from softshare_jax.job import joining, processes
    from softshare_jax.runs.evaluation import evaluate
    from softshare_jax.runs.loop import train
    from softshare_jax.runs.workdir import Workdir

    config = None if values is None else config_lib.from_dict(values)
    workdir = Workdir(FLAGS.workdir)
    joining.join(
        FLAGS.coordinator_address,
        FLAGS.num_processes,
        FLAGS.process_id,
        FLAGS.heartbeat_timeout_seconds,
        FLAGS.join_timeout_seconds,
    )
    logs.configure(logs.from_flag() if processes.is_first() else logs.QUIET)
    with processes.lost_peers():
        if FLAGS.mode == "train":
            stopped_by = train(config, workdir)
            if stopped_by is not None:
                # A shell's exit code for a signal, so that `main && fold` does not fold an incomplete run.
                sys.exit(128 + stopped_by)
        else:
            evaluate(config, workdir, FLAGS.layers)


def _stored_values() -> dict[str, Any]:
    """Returns the config of the run in the workdir."""
    _check_workdir()
    from softshare_jax.runs.workdir import Workdir

    return Workdir(FLAGS.workdir).read_config().to_dict()


def _check_workdir() -> None:
    if not FLAGS.workdir:
        raise UserError("--workdir=DIR is missing (see --help)")


if __name__ == "__main__":
    cli.run(main)
