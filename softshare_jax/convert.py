"""Makes a workdir of weights from elsewhere, to be evaluated, folded and trained on.

python -m softshare_jax.convert --torch=model_best.pth.tar --model=swrn-28-10-2 --output=runs/theirs
"""

import pathlib
import sys

from absl import flags

from softshare_jax import cli, config_flag
from softshare_jax.errors import UserError

FLAGS = flags.FLAGS
# Of the workdir where no --config is given.
CONFIG = "configs/cifar10.py"

flags.DEFINE_string("torch", None, "PyTorch checkpoint of the paper's authors.")
flags.DEFINE_string("model", None, "Network that it holds, such as swrn-28-10-2.")
flags.DEFINE_string("output", None, "Workdir to make; it goes on with --config, or configs/cifar10.py.")


def main() -> None:
    """Reads the flags, converts, and says what it made.

    Raises:
        UserError: a flag is missing or wrong.
    """
    if config_flag.wants_help(__doc__, __name__):
        return
    given = any(argument.lstrip("-").startswith("config=") or argument == "--config" for argument in sys.argv)
    values = config_flag.parse([sys.argv[0], *([] if given else [f"--config={CONFIG}"]), *sys.argv[1:]])
    for name in ("torch", "model", "output"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing (see --help)")
    from softshare_jax.analysis.conversion import convert_torch
    from softshare_jax.training import config as config_lib
    from softshare_jax.training.workdir import Workdir

    config = config_lib.from_dict({**(values or {}), "model": FLAGS.model})
    output = Workdir(FLAGS.output)
    step = convert_torch(pathlib.Path(FLAGS.torch), config, output)
    print(f"{output.root} holds {config.model} at step {step}: evaluate, fold or train it on", flush=True)


if __name__ == "__main__":
    cli.run(main)
