"""Folds a trained run into an explicitly recurrent one, with a certificate.

    python -m softshare_jax.fold --workdir=runs/quickstart --output=runs/quickstart-folded
"""

import argparse
import json
import os
import pathlib
import shutil
import sys

from softshare_jax import cli
from softshare_jax.errors import UserError


def main() -> None:
    """Reads the arguments, folds, and prints the certificate."""
    arguments = _parse(sys.argv[1:])
    from softshare_jax.training.workdir import Workdir

    fold_run(
        Workdir(arguments.workdir),
        Workdir(arguments.output),
        threshold=arguments.threshold,
        max_drop=arguments.max_drop,
        measure=arguments.measure,
        step=arguments.step,
    )


def fold_run(source, output, threshold=None, max_drop=None, measure="weights", step=None) -> None:
    """Folds the run in one workdir into another, which appears complete or not at all.

    The folded workdir goes on from the same step with the records of its source, so that
    ``main`` evaluates it or trains it further and ``report`` shows its history.

    Args:
        source: workdir of a trained run; it is not changed.
        output: workdir to make; it must not exist, or be an empty folder.
        threshold: similarity from which layers merge, 0 to 1; 0.9 where neither it nor
            ``max_drop`` is given.
        max_drop: in its place, the fall of the score that the fold may cost, in percentage points.
        measure: ``'weights'`` or ``'coefficients'``.
        step: of the checkpoint; ``None`` for the newest.

    Raises:
        UserError: an argument is out of range, the source holds no run or nothing shared, or
            the output is in use.
    """
    from softshare_jax import certificate, sharing
    from softshare_jax.training.trained import load

    if threshold is not None and not 0 <= threshold <= 1:
        raise UserError(f"--threshold is a similarity from 0 to 1, not {threshold}")
    if max_drop is not None and not 0 <= max_drop <= 100:
        raise UserError(f"--max_drop is in percentage points, from 0 to 100, not {max_drop}")
    before = load(source, step)
    if not before.experiment.plan.groups:
        raise UserError(f"{before.experiment.config.model} shares nothing, so nothing can fold")
    _check_unused(output.root)
    plan, experiment = before.experiment.plan, before.experiment
    if max_drop is None:
        threshold = 0.9 if threshold is None else threshold
        folded = sharing.fold(plan, before.variables, threshold, measure)
    else:
        phase = experiment.task.phases - 1
        folded, threshold = sharing.fold_within(
            plan,
            before.variables,
            lambda plain: experiment.evaluate(plain, phase)[experiment.task.score],
            max_drop / 100,
            measure,
        )

    partial = type(output)(output.root.with_name(output.root.name + ".partial"))
    shutil.rmtree(partial.root, ignore_errors=True)
    partial.create()
    try:
        _write(before, folded, source, partial)
        # The certificate is about what was read back from disk, not about what was meant.
        after = load(partial)
        result = certificate.certify(before, after, threshold, measure)
        partial.write(partial.certificate_file, json.dumps({"source": str(source.root), **result}, indent=1))
        if output.root.exists():
            output.root.rmdir()
        os.replace(partial.root, output.root)
    finally:
        shutil.rmtree(partial.root, ignore_errors=True)
    print(f"{certificate.describe(result)}\n{output.root} can be evaluated and trained on", flush=True)


def _write(before, folded, source, output) -> None:
    """Writes the folded run into a new workdir."""
    from softshare_jax.training.checkpoints import Checkpoints
    from softshare_jax.training.experiment import Experiment

    experiment = Experiment(before.experiment.config, folded.plan)
    output.write_run(experiment.config, folded.plan)
    checkpoints = Checkpoints(output.checkpoints, f"target/{experiment.task.score}")
    checkpoints.save(experiment.fresh_state(before.step, folded.variables), None)
    checkpoints.close()
    if source.metrics_file.exists():
        shutil.copy(source.metrics_file, output.metrics_file)
    if source.similarity.is_dir():
        shutil.copytree(source.similarity, output.similarity)


def _check_unused(root: pathlib.Path) -> None:
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise UserError(f"--output {root} is in use: name a new folder")


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.Parser(prog="python -m softshare_jax.fold", description=__doc__.split("\n")[0])
    parser.add_argument("--workdir", required=True, help="a trained run; it is not changed")
    parser.add_argument("--output", required=True, help="workdir to make")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--threshold", type=float, help="merge layers at least this similar, 0 to 1 (default 0.9)")
    how.add_argument(
        "--max_drop",
        type=float,
        help="in its place: fold as far as the score falls by no more than this, in percentage points",
    )
    parser.add_argument(
        "--measure", choices=["weights", "coefficients"], default="weights", help="similarity that decides"
    )
    parser.add_argument("--step", type=int, help="checkpoint to fold (default: the newest)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main)
