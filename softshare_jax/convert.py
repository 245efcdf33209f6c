"""Shares trained weights: makes a workdir that can be evaluated, folded and trained further.

From an unshared run to a soft-shared one, with k templates per group or a total budget of parameters:

    python -m softshare_jax.convert --dense=runs/wrn --k=2 --output=runs/swrn
    python -m softshare_jax.convert --dense=runs/wrn --budget=17000000 --output=runs/swrn
    python -m softshare_jax.convert --dense=runs/wrn --k=1 --config.sharing.rank=8 --output=runs/relaxed

From a soft-shared run to one with fewer templates, or with more and the same outputs:

    python -m softshare_jax.convert --shared=runs/swrn --k=3 --output=runs/larger

From a folded run to a deeper network in which loops run more often, or to a shallower one:

    python -m softshare_jax.convert --folded=runs/loop --layers=80 --output=runs/longer

From a PyTorch checkpoint of the paper's authors:

    python -m softshare_jax.convert --torch=model_best.pth.tar --model=swrn-28-10-2 --output=runs/theirs

From a safetensors file of any model to a folder with templates, coefficients and a plan; and back to a file
with the names and dtypes of the original:

    python -m softshare_jax.convert --safetensors=model.safetensors --k=3 --output=shared
    python -m softshare_jax.convert --materialize=shared --output=smaller.safetensors
"""

from softshare_jax.shell import ending

if __name__ == "__main__":
    ending.start()  # so that Ctrl-C during the imports prints one line

import sys
from typing import Any

from absl import flags

from softshare_jax import paths
from softshare_jax.errors import UserError
from softshare_jax.shell import cli, config_flag, logs

FLAGS = flags.FLAGS
SOURCES = ("dense", "shared", "folded", "torch", "safetensors", "materialize")

flags.DEFINE_string("dense", None, "Workdir of an unshared run; it does not change.")
flags.DEFINE_string("shared", None, "Workdir of a soft-shared or folded run; it does not change.")
flags.DEFINE_string("folded", None, "Workdir of a folded run; it does not change.")
flags.DEFINE_integer("k", None, "With --dense, --shared or --safetensors: templates per group.")
flags.DEFINE_integer(
    "budget", None, "Instead of --k: total parameters; each group gets the k with the least loss."
)
flags.DEFINE_integer(
    "layers",
    None,
    "With --folded: depth in the name of the new network.",
    lower_bound=1,
    allow_override=True,  # a program may import this module and main, whose flag has the same name
)
flags.DEFINE_integer("step", None, "Checkpoint of the source run (default: the newest).")
flags.DEFINE_integer("batch_norm_batches", 0, "Then recalibrate batch-norm over this many batches.")
flags.DEFINE_integer(
    "calibration_batches",
    0,
    "With --dense: fit the outputs of layers over this many training batches, instead of the weights.",
)
flags.DEFINE_string("torch", None, "PyTorch checkpoint of the paper's authors.")
flags.DEFINE_string("model", None, "Network in --torch, such as swrn-28-10-2.")
flags.DEFINE_string("safetensors", None, "File of any model's weights.")
flags.DEFINE_multi_string(
    "rule",
    None,
    "With --safetensors: a group as NAME=REGEX, where the regular expression matches whole paths such as "
    "layer/0/query/weight. Repeat it for more groups. Default: weights with equal role, shape and dtype.",
)
flags.DEFINE_string("materialize", None, "Folder that --safetensors made.")
flags.DEFINE_string(
    "output",
    None,
    "Workdir to create (--safetensors: a folder, --materialize: a file). A workdir keeps the config and "
    "step of the source run, or gets the paper's recipe for CIFAR with --torch. --config and --config.FIELD "
    "change that; the copy of a run then starts at step 0.",
)


def main() -> None:
    """Reads the flags, converts, and prints a summary.

    Raises:
        UserError: a flag is missing or wrong.
    """
    if config_flag.wants_help(__doc__, __name__):
        return
    # With --torch and no --config, fields change the recipe, which depends on the checkpoint.
    alone = _given("torch") and not _given("config")
    fields, rest = config_flag.split_fields(sys.argv) if alone else ([], sys.argv)
    values = config_flag.parse(rest, _source_values)
    logs.configure(logs.from_flag())
    sources = [name for name in SOURCES if FLAGS[name].value]
    if len(sources) != 1:
        *others, last = (f"--{name}" for name in SOURCES)
        raise UserError(f"set exactly one of {', '.join(others)} and {last} (see --help)")
    if not FLAGS.output:
        raise UserError("--output is missing (see --help)")
    if not FLAGS.safetensors:
        _refuse(f"--{sources[0]}", "rule")
    if FLAGS.torch:
        _convert_torch(values, fields)
    elif FLAGS.safetensors or FLAGS.materialize:
        _convert_file(values)
    elif FLAGS.folded:
        _lengthen(values)
    else:
        _convert_run(sources[0], FLAGS.dense or FLAGS.shared, values)


def _convert_torch(values: dict[str, Any] | None, fields: list[str]) -> None:
    if not FLAGS.model:
        raise UserError("--model is missing (see --help)")
    _refuse("--torch", "k", "budget", "layers", "step", "batch_norm_batches", "calibration_batches")
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
    rest = f" (skipped: {', '.join(passed_over[:3])})" if passed_over else ""
    print(f"{output.root} holds {made.model} at step {step}{rest}: evaluate, fold or train it", flush=True)


def _convert_run(source: str, folder: str, values: dict[str, Any] | None) -> None:
    _refuse(f"--{source}", "model", "layers")
    if source == "shared":
        _refuse("--shared", "calibration_batches")
    if (FLAGS.k is None) is (FLAGS.budget is None):
        raise UserError(f"--{source} needs one of --k and --budget, and not both (see --help)")
    from softshare_jax import config as config_lib
    from softshare_jax.conversion.resizing import describe, resize_run
    from softshare_jax.runs.workdir import Workdir
    from softshare_jax.shell import devices

    devices.check()
    workdir, output = Workdir(folder), Workdir(FLAGS.output)
    workdir.read_config()  # a better error if there is no run
    shares = bool(workdir.read_plan().groups)
    if shares is (source == "dense"):
        other = "is not an unshared run: use --shared" if shares else "is an unshared run: use --dense"
        raise UserError(f"{workdir.root} {other}")
    conversion = resize_run(
        workdir,
        output,
        templates=FLAGS.k,
        budget=FLAGS.budget or 0,
        config=None if values is None else config_lib.from_dict(values),
        step=FLAGS.step,
        batch_norm_batches=FLAGS.batch_norm_batches,
        calibration_batches=FLAGS.calibration_batches,
    )
    print(f"{describe(conversion)}\n{output.root} can be evaluated, folded and trained further", flush=True)


def _lengthen(values: dict[str, Any] | None) -> None:
    _refuse("--folded", "model", "k", "budget", "batch_norm_batches", "calibration_batches")
    if FLAGS.layers is None:
        raise UserError("--folded needs --layers (see --help)")
    from softshare_jax import config as config_lib
    from softshare_jax.conversion.lengthening import lengthen_run
    from softshare_jax.runs.workdir import Workdir
    from softshare_jax.shell import devices

    devices.check()
    output = Workdir(FLAGS.output)
    config = None if values is None else config_lib.from_dict(values)
    made = lengthen_run(Workdir(FLAGS.folded), output, FLAGS.layers, config, FLAGS.step)
    print(
        f"{output.root} holds {made.experiment.config.model} at step {made.step}: "
        "evaluate, export or train it",
        flush=True,
    )


def _convert_file(values: dict[str, Any] | None) -> None:
    source = "--safetensors" if FLAGS.safetensors else "--materialize"
    _refuse(source, "model", "layers", "step", "batch_norm_batches", "calibration_batches")
    if values is not None:
        raise UserError(f"--config does not apply to {source} (see --help)")
    output = paths.local(FLAGS.output)
    if FLAGS.materialize:
        _refuse(source, "k", "budget")
    elif FLAGS.k is not None and FLAGS.budget is not None:
        raise UserError("--safetensors takes one of --k and --budget, and not both (see --help)")
    groups: dict[str, str] = {}
    for name, pattern in map(_group, FLAGS.rule or ()):
        if name in groups:
            raise UserError(f"two rules have the name {name!r}: write one regular expression for a group")
        groups[name] = pattern
    from softshare_jax import sharing
    from softshare_jax.conversion import weights_file
    from softshare_jax.shell import devices

    devices.check()
    if FLAGS.materialize:
        number = weights_file.materialize_file(paths.local(FLAGS.materialize), output)
        print(f"{output} holds {number} tensors", flush=True)
        return
    rule = sharing.by_regex(groups) if groups else sharing.by_shape()
    made = weights_file.share_file(paths.local(FLAGS.safetensors), output, rule, FLAGS.k, FLAGS.budget)
    print(f"{weights_file.describe(made)}\n{output} holds templates, coefficients and plan.json", flush=True)


def _group(text: str) -> tuple[str, str]:
    """Reads a group from ``NAME=REGEX``."""
    name, equals, pattern = text.partition("=")
    if not (name and equals and pattern):
        raise UserError(f"--rule is NAME=REGEX, such as query=.*/query/weight, not {text!r}")
    return name, pattern


def _source_values() -> dict[str, Any]:
    """Returns the config of the run that is converted."""
    from softshare_jax.runs.workdir import Workdir

    for name in ("safetensors", "materialize"):
        if FLAGS[name].present:
            raise UserError(f"--config does not apply to --{name} (see --help)")
    source = FLAGS.dense or FLAGS.shared or FLAGS.folded
    if not source:
        raise UserError(
            "--config.FIELD needs a config to change: set --config, --dense, --shared or --folded"
        )
    return Workdir(source).read_config().to_dict()


def _given(name: str) -> bool:
    """Returns whether a flag is on the command line, before it is parsed."""
    return any(argument.lstrip("-").partition("=")[0] == name for argument in sys.argv[1:])


def _refuse(source: str, *names: str) -> None:
    """Rejects flags that do not apply to a source."""
    for name in names:
        if FLAGS[name].present:
            raise UserError(f"--{name} does not apply to {source} (see --help)")


if __name__ == "__main__":
    cli.run(main)
