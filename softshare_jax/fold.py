"""Folds a trained run into an explicitly recurrent one, with a certificate.

python -m softshare_jax.fold --workdir=runs/quickstart --output=runs/quickstart-folded
"""

from softshare_jax.shell import ending

if __name__ == "__main__":
    ending.start()  # so that Ctrl-C during the imports prints one line

import argparse
import sys

from softshare_jax.shell import cli


def main() -> None:
    """Reads the arguments, folds, and prints the certificate."""
    arguments = _parse(sys.argv[1:])
    from softshare_jax.conversion.certificate import describe
    from softshare_jax.conversion.folding import fold_run
    from softshare_jax.runs.workdir import Workdir
    from softshare_jax.shell import devices

    devices.check()
    output = Workdir(arguments.output)
    certificate = fold_run(
        Workdir(arguments.workdir),
        output,
        threshold=arguments.threshold,
        max_drop=arguments.max_drop,
        measure=arguments.measure,
        step=arguments.step,
        batch_norm_batches=arguments.batch_norm_batches,
        tied=arguments.tied,
        joint=[names.split(",") for names in arguments.joint],
    )
    print(f"{describe(certificate)}\n{output.root} can be evaluated and trained further", flush=True)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.Parser("fold", __doc__.split("\n")[0])
    parser.add_argument("--workdir", required=True, help="a trained run; it does not change")
    parser.add_argument("--output", required=True, help="workdir to create")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--threshold", type=float, help="merge layers that are this similar, from 0 to 1 (0.9)")
    how.add_argument(
        "--max_drop",
        type=float,
        help="instead: fold as far as the score drops by at most this, in percentage points",
    )
    parser.add_argument(
        "--measure", choices=["weights", "coefficients"], default="weights", help="measure of similarity"
    )
    parser.add_argument(
        "--tied", action="store_true", help="make merged layers equal, without a scalar for each"
    )
    parser.add_argument(
        "--joint",
        action="append",
        default=[],
        metavar="GROUP,GROUP,...",
        help="fold these groups alike, so that all leaves of a layer are in one loop; may be repeated",
    )
    parser.add_argument("--step", type=int, help="checkpoint to fold (default: the newest)")
    parser.add_argument(
        "--batch_norm_batches",
        type=int,
        default=0,
        help="then recalibrate batch-norm over this many training batches (0: keep the statistics)",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main)
