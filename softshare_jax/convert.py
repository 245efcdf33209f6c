"""Makes a workdir of trained weights from elsewhere, to be evaluated, folded and trained on.

An unshared run becomes a soft-shared one, with k templates a group or what a budget buys:

    python -m softshare_jax.convert --dense=runs/wrn --k=2 --output=runs/swrn
    python -m softshare_jax.convert --dense=runs/wrn --budget=17000000 --output=runs/swrn

A soft-shared run gets more templates, and computes what it did, or fewer:

    python -m softshare_jax.convert --shared=runs/swrn --k=3 --output=runs/larger

A PyTorch checkpoint of the paper's authors becomes a run:

    python -m softshare_jax.convert --torch=model_best.pth.tar --model=swrn-28-10-2 --output=runs/theirs
"""

from softshare_jax.shell import ending

if __name__ == "__main__":
    ending.start()  # so that Ctrl-C is one line while the rest is imported

import sys
from typing import Any

from absl import flags

from softshare_jax import paths
from softshare_jax.errors import UserError
from softshare_jax.shell import cli, config_flag, logs

FLAGS = flags.FLAGS
SOURCES = ("dense", "shared", "torch")

flags.DEFINE_string("dense", None, "Workdir of an unshared run, which is not changed.")
flags.DEFINE_string("shared", None, "Workdir of a soft-shared or folded run, which is not changed.")
flags.DEFINE_integer("k", None, "With --dense or --shared: templates of each group.")
flags.DEFINE_integer(
    "budget", None, "In place of --k: parameters in all; each group gets the k that lose least."
)
flags.DEFINE_integer("step", None, "Checkpoint of --dense or --shared (default: the newest).")
flags.DEFINE_integer(
    "batch_norm_batches", 0, "Then re-estimate batch-norm statistics over this many batches."
)
flags.DEFINE_string("torch", None, "PyTorch checkpoint of the paper's authors.")
flags.DEFINE_string("model", None, "Network that --torch holds, such as swrn-28-10-2.")
flags.DEFINE_string(
    "output",
    None,
    "Workdir to make. With --config, or fields of its source's by --config.FIELD, it trains on by that, from "
    "step 0 where it comes of a run; without, it goes on as its source would, or of --torch by the paper's "
    "recipe for CIFAR.",
)


def main() -> None:
    """Reads the flags, converts, and says what it made.

    Raises:
        UserError: a flag is missing or wrong.
    """
    if config_flag.wants_help(__doc__, __name__):
        return
    # Of --torch without a config they are set in that of the recipe, which depends on the checkpoint.
    alone = _given("torch") and not _given("config")
    fields, rest = config_flag.split_fields(sys.argv) if alone else ([], sys.argv)
    values = config_flag.parse(rest, _source_values)
    logs.configure(logs.from_flag())
    sources = [name for name in SOURCES if FLAGS[name].value]
    if len(sources) != 1:
        raise UserError("name one of --dense, --shared and --torch (see --help)")
    if not FLAGS.output:
        raise UserError("--output is missing (see --help)")
    if FLAGS.torch:
        _convert_torch(values, fields)
    else:
        _convert_run(sources[0], FLAGS.dense or FLAGS.shared, values)


def _convert_torch(values: dict[str, Any] | None, fields: list[str]) -> None:
    if not FLAGS.model:
        raise UserError("--model is missing (see --help)")
    _refuse("--torch", "k", "budget", "step", "batch_norm_batches")
    from softshare_jax import config as config_lib
    from softshare_jax.config.by_network import recipe
    from softshare_jax.conversion.torch.conversion import convert_torch
    from softshare_jax.runs.workdir import Workdir
    from softshare_jax.shell import devices

    devices.check()

    def config(classes: int) -> config_lib.Config:
        if values is not None:
            return config_lib.from_dict({**values, "model": FLAGS.model})
        recipes_own = recipe(FLAGS.model, classes).to_dict()
        return config_lib.from_dict(config_flag.set_fields(recipes_own, fields))

    output = Workdir(FLAGS.output)
    made, step, passed_over = convert_torch(paths.local(FLAGS.torch), config, output)
    rest = f" (passed over: {', '.join(passed_over[:3])})" if passed_over else ""
    print(f"{output.root} holds {made.model} at step {step}{rest}: evaluate, fold or train it on", flush=True)


def _convert_run(source: str, folder: str, values: dict[str, Any] | None) -> None:
    _refuse(f"--{source}", "model")
    if (FLAGS.k is None) is (FLAGS.budget is None):
        raise UserError(f"--{source} needs either --k or --budget (see --help)")
    from softshare_jax import config as config_lib
    from softshare_jax.conversion.resizing import describe, resize_run
    from softshare_jax.runs.workdir import Workdir
    from softshare_jax.shell import devices

    devices.check()
    workdir, output = Workdir(folder), Workdir(FLAGS.output)
    workdir.read_config()  # it says more where there is no run
    shares = bool(workdir.read_plan().groups)
    if shares is (source == "dense"):
        other = "shares already: use --shared" if shares else "shares nothing: use --dense"
        raise UserError(f"{workdir.root} {other}")
    conversion = resize_run(
        workdir,
        output,
        templates=FLAGS.k,
        budget=FLAGS.budget or 0,
        config=None if values is None else config_lib.from_dict(values),
        step=FLAGS.step,
        batch_norm_batches=FLAGS.batch_norm_batches,
    )
    print(f"{describe(conversion)}\n{output.root} can be evaluated, folded and trained on", flush=True)


def _source_values() -> dict[str, Any]:
    """Returns the config of the run that is converted."""
    from softshare_jax.runs.workdir import Workdir

    source = FLAGS.dense or FLAGS.shared
    if not source:
        raise UserError("--config.FIELD sets a field of --config or of --dense or --shared: name one of them")
    return Workdir(source).read_config().to_dict()


def _given(name: str) -> bool:
    """Whether a flag stands on the command line, which is not parsed yet."""
    return any(argument.lstrip("-").partition("=")[0] == name for argument in sys.argv[1:])


def _refuse(source: str, *names: str) -> None:
    """Raises where a flag is set that the source has no use for."""
    for name in names:
        if FLAGS[name].present:
            raise UserError(f"--{name} is not for {source} (see --help)")


if __name__ == "__main__":
    cli.run(main)
