"""The part that compares the training step with a PyTorch twin of the network."""

import argparse

from benchmarks.rented.part import Part
from benchmarks.rented.rows import Settings
from softshare_jax.errors import RunError, UserError, one_line
from softshare_jax.shell import cli
from softshare_jax.training.experiment import make_experiment


def main() -> None:
    """Compares, and writes the result into the notes.

    Raises:
        RunError: PyTorch or jax fails, for example because they need different libraries of CUDA.
    """
    part = Part.parse(__doc__)
    notes, row = part.read(), part.row
    settings = Settings.of(notes["chosen"])
    config = row.config(row.computed(settings))
    pairs, block = (2, 1) if row.smoke else (8, 16)
    arguments = argparse.Namespace(
        network=row.model,
        batch_size=config.batch_size,
        dtype=settings.dtype,
        pairs=pairs,
        block=block,
        eager=row.smoke,
    )
    try:
        from benchmarks.speed import torch_throughput

        notes["twin"] = torch_throughput.compare(make_experiment(config), arguments, part.until)
    except UserError:
        raise
    except Exception as error:  # whatever PyTorch raises
        raise RunError(f"no comparison with PyTorch: {one_line(error)}") from error


if __name__ == "__main__":
    cli.run(main)
