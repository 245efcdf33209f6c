"""What a run writes down: metrics as JSON lines and for TensorBoard, and similarity matrices."""

import json
import os
import pathlib
import time
from collections.abc import Mapping

import jax
import numpy as np

from softshare_jax.training.workdir import Workdir

SECONDS = "time/seconds"


class Records:
    """Writes the records of one run; a resumed run drops what came after its checkpoint."""

    def __init__(self, workdir: Workdir, step: int):
        """Opens the records to go on after ``step``, and notes on which devices."""
        import tensorboardX  # it imports torch where there is one, seconds that mistakes need not wait for

        self._workdir = workdir
        self._start = time.monotonic()
        kept = [record for record in read_metrics(workdir.metrics_file) if record["step"] <= step]
        workdir.write(workdir.metrics_file, "".join(json.dumps(record) + "\n" for record in kept))
        self._seconds_before = float(kept[-1].get(SECONDS, 0.0)) if kept else 0.0
        device = {"step": step, "device": jax.devices()[0].device_kind, "devices": jax.device_count()}
        with open(workdir.devices_file, "a") as devices:
            devices.write(json.dumps({**device, "jax": jax.__version__}) + "\n")
        self._metrics = open(workdir.metrics_file, "a")  # noqa: SIM115 (closed by close)
        self._tensorboard = tensorboardX.SummaryWriter(str(workdir.tensorboard), purge_step=step + 1)
        for number, file in similarity_files(workdir).items():
            if number > step:
                file.unlink()

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Appends a line to ``metrics.jsonl`` and points to TensorBoard, with the time spent so far.

        That time, in seconds, is all of the run's but what was lost where it was killed: compilation,
        evaluation and earlier processes count.
        """
        scalars = {**scalars, SECONDS: round(self._seconds_before + time.monotonic() - self._start, 3)}
        self._metrics.write(json.dumps({"step": step, **scalars}) + "\n")
        self._metrics.flush()
        for name, value in scalars.items():
            self._tensorboard.add_scalar(name, value, step)

    def write_similarity(self, step: int, matrices: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Writes the layer similarity matrices of a step: measure -> group -> ``[L, L]``."""
        self._workdir.similarity.mkdir(exist_ok=True)
        file = self._workdir.similarity / f"{step:08d}.npz"
        partial = file.with_suffix(".partial")
        arrays = {
            f"{measure}/{group}": np.asarray(matrix, np.float16)
            for measure, groups in matrices.items()
            for group, matrix in groups.items()
        }
        with open(partial, "wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        os.replace(partial, file)

    def close(self) -> None:
        """Writes out what is buffered and closes the files."""
        self._metrics.close()
        self._tensorboard.close()


def read_metrics(file: pathlib.Path) -> list[dict]:
    """Returns the records of a file of JSON lines, such as ``metrics.jsonl``; none where there is no file.

    A last line that a killed process left torn is not a record.
    """
    records = []
    if file.exists():
        for line in file.read_text(errors="replace").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                break
    return records


def similarity_files(workdir: Workdir) -> dict[int, pathlib.Path]:
    """Returns the files of recorded similarity matrices by step, in order."""
    return {int(file.stem): file for file in sorted(workdir.similarity.glob("*.npz"))}


def read_similarity(workdir: Workdir) -> dict[int, dict[str, dict[str, np.ndarray]]]:
    """Returns the recorded similarity matrices: step -> measure -> group -> ``[L, L]``."""
    history: dict[int, dict[str, dict[str, np.ndarray]]] = {}
    for step, file in similarity_files(workdir).items():
        with np.load(file) as arrays:
            for name, matrix in arrays.items():
                measure, group = name.split("/", 1)
                history.setdefault(step, {}).setdefault(measure, {})[group] = matrix.astype(np.float32)
    return history
