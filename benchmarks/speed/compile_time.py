"""Compile time of the train step against depth, with the blocks of a stage scanned and unrolled.

python -m benchmarks.speed.compile_time --depths 28 40 100 202
"""

import jax

from benchmarks.runs import Run, experiment, machine, parser


def main() -> None:
    """Measures and prints a table."""
    flags = parser(__doc__)
    flags.add_argument("--depths", type=int, nargs="+", default=[28, 40, 100, 202])
    flags.add_argument("--width", type=int, default=1)
    flags.add_argument("--templates", type=int, default=2)
    arguments = flags.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    print(machine())
    print("| network | blocks | trace and lower, s | compile, s | scanned, over the first depth |")
    print("|---|---|---|---|---|")
    first: float | None = None
    for depth in arguments.depths:
        name = f"swrn-{depth}-{arguments.width}-{arguments.templates}"
        for scan in ("yes", "no"):
            fields = {"batch_size": arguments.batch_size, "dtype": arguments.dtype, "steps_per_dispatch": 1}
            run = Run(experiment(name, scan_blocks=scan, data__train_examples=1000, **fields))
            growth = ""
            if scan == "yes":
                first = first or run.compile_seconds
                growth = f"{run.compile_seconds / first:.2f}"
            blocks = "scanned" if scan == "yes" else "unrolled"
            print(
                f"| {name} | {blocks} | {run.trace_seconds:.1f} | {run.compile_seconds:.1f} | {growth} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
