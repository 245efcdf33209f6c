"""The folder to carry home: what ``softshare poster`` and ``softshare report`` read of a run, no weights."""

import pathlib
import shutil
from typing import Any

from benchmarks.rented.rows import Row
from softshare_jax.runs import records
from softshare_jax.runs.workdir import Workdir

# Of the similarity matrices of a run; more of them are thinned out evenly.
MOST_BYTES = 1_000_000


def carry(workdir: Workdir, folder: pathlib.Path) -> None:
    """Copies what there is of a run, except its weights; what was copied before is replaced."""
    if not workdir.config_file.exists():
        return  # it has not begun
    target = Workdir(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for file in (
        workdir.config_file,
        workdir.plan_file,
        workdir.metrics_file,
        workdir.devices_file,
        workdir.data_file,
    ):
        if file.exists():
            shutil.copy(file, folder / file.name)
    shutil.rmtree(target.similarity, ignore_errors=True)
    matrices = list(records.similarity_files(workdir).values())
    # The last one stays.
    every = -(-sum(file.stat().st_size for file in matrices) // MOST_BYTES)
    for file in matrices[::-1][:: max(1, every)]:
        target.similarity.mkdir(exist_ok=True)
        shutil.copy(file, target.similarity / file.name)


def outcome(row: Row, workdir: Workdir, said: str) -> dict[str, Any]:
    """Returns JSON values on a run: the newest step and error, the time it took, and how it ended."""
    lines = records.scalar_records(records.read_lines(workdir.metrics_file))
    errors = [1 - line.scalars["eval/accuracy"] for line in lines if "eval/accuracy" in line.scalars]
    return {
        "row": row.variant,
        "folder": row.name,
        "epochs": row.epochs,
        "step": max(workdir.saved_steps(), default=0),
        "steps": row.steps,
        "error": round(errors[-1], 4) if errors else None,
        "seconds": lines[-1].scalars.get(records.SECONDS) if lines else None,
        "outcome": said,
    }


def line(values: dict[str, Any]) -> str:
    """Returns the outcome of a row in a line."""
    error = "not yet measured" if values["error"] is None else f"{values['error']:.2%}"
    seconds = values["seconds"]
    spent = "" if seconds is None else f", {seconds / 60:.1f} min"
    return (
        f"  {values['row']}: {values['outcome']}, step {values['step']:,} of {values['steps']:,}{spent}, "
        f"test error {error}"
    )
