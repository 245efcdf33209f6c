"""Vision transformers on CIFAR-10, shared and unshared, also with as many parameters.

    python -m benchmarks.research.vit --output=runs/vit --data_dir=DIR --epochs=100 --seeds=3

Trains variants of configs/vit.py by `softshare train`: 12 layers of width 64 unshared, and with 6, 4 and 1
templates in each of six groups; 4 unshared layers, which have the parameters of 4 templates; and 12 wider
layers with 5 templates, which have those of the 12 unshared ones. Writes rows.jsonl (test error in percent,
parameters, the loops of a fold at 0.9) and table.md. Interrupted runs resume.
"""

import argparse
import contextlib
import pathlib

from benchmarks.research import comparison
from softshare_jax.description.description import parameters
from softshare_jax.runs import records
from softshare_jax.runs.load import load
from softshare_jax.shell import cli

NETWORKS = (
    "vit-12-64-4",
    "svit-12-64-4-6",
    "svit-12-64-4-4",
    "svit-12-64-4-1",
    "vit-4-64-4",
    "svit-12-96-4-5",
)
# Of the epochs; configs/vit.py warms up for 5 of 100.
WARMUP = 0.05


def main() -> None:
    """Trains what is not trained, and writes the table."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--output", default="runs/vit", help="folder of the runs and results")
    flags.add_argument("--data_dir", default="", help="folder of data sets (default: that of TFDS)")
    flags.add_argument("--epochs", type=comparison.positive, default=100)
    flags.add_argument("--seeds", type=comparison.positive, default=3)
    flags.add_argument("--batch_size", type=comparison.positive, default=128)
    flags.add_argument("--networks", nargs="+", default=NETWORKS)
    flags.add_argument("--jobs", type=comparison.positive, default=1, help="runs at a time")
    flags.add_argument("--train_examples", type=int, default=50_000, help="fewer for a short run")
    flags.add_argument("--dtype", default="float32", help="float32 or bfloat16")
    arguments = flags.parse_args()
    output = pathlib.Path(arguments.output)
    rows = comparison.read(output / "rows.jsonl")
    comparison.check_settings(output / "rows.jsonl", rows, settings(arguments))
    done = {(row["network"], row["seed"]) for row in rows}
    runs = [
        (network, seed, output / f"{network}-{seed}", arguments)
        for seed in range(arguments.seeds)
        for network in arguments.networks
        if (network, seed) not in done
    ]
    with contextlib.closing(comparison.in_parallel(arguments.jobs, run, runs)) as found:
        for row in found:
            rows.append(row)
            comparison.write(output / "rows.jsonl", rows)
    comparison.show(output / "table.md", comparison.table(rows, "test_error", 2))


def settings(arguments: argparse.Namespace) -> comparison.Row:
    """Returns what all rows of an output have in common."""
    return {name: getattr(arguments, name) for name in ("epochs", "batch_size", "train_examples", "dtype")}


def run(network: str, seed: int, folder: pathlib.Path, arguments: argparse.Namespace) -> comparison.Row:
    """Trains or resumes a run, and returns its row; ends if the run fails or is stopped."""
    fields = {
        "seed": seed,
        "data_dir": arguments.data_dir,
        "data.train_examples": arguments.train_examples,
        "dtype": arguments.dtype,
        "batch_size": arguments.batch_size,
        "duration": f"{arguments.epochs} epochs",
        "optimizer.warmup": f"{max(1, round(WARMUP * arguments.epochs))} epochs",
        "evaluate_every": f"{max(1, arguments.epochs // 20)} epochs",
        "checkpoint_every": f"{max(1, arguments.epochs // 20)} epochs",
        "keep_checkpoints": 1,
    }
    workdir = comparison.train(f"vit:{network}", folder, fields)
    last = records.read_metrics(workdir.metrics_file)[-1]
    row: comparison.Row = {
        "network": network,
        "seed": seed,
        "parameters": parameters(network).total,
        **settings(arguments),
        "test_error": round(100 - 100 * last["eval/accuracy"], 2),
        "seconds": last[records.SECONDS],
        "device": records.read_devices(workdir.devices_file)[-1].kind,
    }
    trained = load(workdir)
    if trained.experiment.plan.groups:
        row["loops"] = comparison.loops(trained.experiment.plan, trained.variables)
    return row


if __name__ == "__main__":
    cli.run(main)
