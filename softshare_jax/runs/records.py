"""Records of a run: metrics as JSON lines and for TensorBoard, and similarity matrices."""

import contextlib
import io
import json
import logging
import math
import pathlib
import re
import shutil
import sys
import time
import types
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from softshare_jax import durable
from softshare_jax.runs.workdir import Workdir

SECONDS = "time/seconds"
# Limit for the similarity matrices of a step, uncompressed; 12 groups of 1,000 layers take 48 MB.
MOST_SIMILARITY_BYTES = 64 * 2**20
History = dict[int, dict[str, dict[str, np.ndarray]]]


class Record(NamedTuple):
    """The metrics of a step.

    Attributes:
        step: number of the step.
        scalars: finite numbers by name, such as ``'train/loss'``.
    """

    step: int
    scalars: Mapping[str, float]


class Device(NamedTuple):
    """The devices that trained a run from one start to the next.

    Attributes:
        kind: kind of device, such as ``'NVIDIA H100'``.
        number: number of devices.
    """

    kind: str
    number: int


class Lines(NamedTuple):
    """The content of a file of JSON lines.

    Attributes:
        records: the records, in the order of the file.
        skipped: number of other lines, except an incomplete last line of a killed process.
    """

    records: list[dict[str, Any]]
    skipped: int


log = logging.getLogger(__name__)


class Records:
    """Writes the records of a run; a resumed run drops records newer than its checkpoint."""

    def __init__(self, workdir: Workdir, step: int):
        """Opens the records to continue after ``step``, and records the devices.

        Drops lines that are not records, with one warning.
        """
        self._workdir = workdir
        self._start = time.monotonic()
        found = read_lines(workdir.metrics_file)
        if found.skipped:
            log.warning("%s: %s", workdir.metrics_file, describe_skipped(found))
        kept = [record for record in found.records if record["step"] <= step]
        _write_lines(workdir.metrics_file, kept)
        self._seconds_before = _seconds(kept[-1]) if kept else 0.0
        device = {"step": step, "device": jax.devices()[0].device_kind, "devices": jax.device_count()}
        starts = read_lines(workdir.devices_file).records
        _write_lines(workdir.devices_file, [*starts, {**device, "jax": jax.__version__}])
        self._metrics = open(workdir.metrics_file, "a")  # noqa: SIM115 (closed by close)
        self._tensorboard = _tensorboardx().SummaryWriter(str(workdir.tensorboard), purge_step=step + 1)
        for number, file in similarity_files(workdir).items():
            if number > step:
                file.unlink()

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes metrics to ``metrics.jsonl`` and TensorBoard, with the time spent so far in seconds.

        The time includes compilation, evaluation and earlier processes, but not steps lost to a kill.
        """
        scalars = {**scalars, SECONDS: round(self._seconds_before + time.monotonic() - self._start, 3)}
        self._metrics.write(json.dumps({"step": step, **scalars}) + "\n")
        self._metrics.flush()
        for name, value in scalars.items():
            self._tensorboard.add_scalar(name, value, step)

    def write_similarity(self, step: int, matrices: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Writes the layer similarity matrices of a step: measure -> group -> ``[L, L]``."""
        arrays = {
            f"{measure}/{group}": np.asarray(matrix, np.float16)
            for measure, groups in matrices.items()
            for group, matrix in groups.items()
        }
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        durable.make_folder(self._workdir.similarity)
        durable.write(self._workdir.similarity / f"{step:08d}.npz", content.getvalue())

    def close(self) -> None:
        """Flushes and closes the files."""
        self._metrics.close()
        self._tensorboard.close()


def _tensorboardx() -> types.ModuleType:
    """Imports tensorboardX, but not torch with it: that takes seconds, and scalars do not need it."""
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import tensorboardX
    finally:
        if hidden:
            del sys.modules["torch"]
    return tensorboardX


def read_lines(file: pathlib.Path) -> Lines:
    """Returns the records of ``metrics.jsonl`` or ``devices.jsonl``; none if there is no file.

    A record is an object with a ``step``, a non-negative int32.
    """
    if not file.exists():
        return Lines([], 0)
    *lines, torn = file.read_bytes().split(b"\n")
    found = [_record(line) for line in (*lines, torn)]
    if not torn or found[-1] is None:
        del found[-1]
    return Lines([record for record in found if record is not None], found.count(None))


def copy_until(source: Workdir, output: Workdir, step: int) -> None:
    """Copies the records of a run up to a step, and the record of its data."""
    for old, new in (
        (source.metrics_file, output.metrics_file),
        (source.devices_file, output.devices_file),
    ):
        if old.exists():
            _write_lines(new, [record for record in read_lines(old).records if record["step"] <= step])
    if source.data_file.exists():
        shutil.copy(source.data_file, output.data_file)
    # By name, because a run that goes on has other files there for a moment.
    for number, file in similarity_files(source).items():
        if number <= step:
            output.similarity.mkdir(exist_ok=True)
            shutil.copy(file, output.similarity / file.name)


def describe_skipped(lines: Lines) -> str:
    """Returns a sentence on the skipped lines."""
    return f"{lines.skipped} of {len(lines.records) + lines.skipped} lines are not records and were skipped"


def read_metrics(file: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the records of ``metrics.jsonl``; none if there is no file. Other lines are skipped."""
    return read_lines(file).records


def scalar_records(lines: Lines) -> tuple[Record, ...]:
    """Returns the lines of ``metrics.jsonl`` as typed records, with finite numbers only."""
    return tuple(
        Record(line["step"], {name: float(value) for name, value in line.items() if is_finite(value)})
        for line in lines.records
    )


def read_devices(file: pathlib.Path) -> tuple[Device, ...]:
    """Returns the content of ``devices.jsonl``, one entry per start; none if there is no file."""
    found = []
    for line in read_lines(file).records:
        kind, number = line.get("device"), line.get("devices")
        if isinstance(kind, str) and isinstance(number, int):
            found.append(Device(kind, number))
    return tuple(found)


def is_finite(value: object) -> bool:
    """Returns whether a value is a number that a page can show: it is finite, and less than 1e300."""
    # An integer of hundreds of digits does not fit into a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def similarity_files(workdir: Workdir) -> dict[int, pathlib.Path]:
    """Returns the files of recorded similarity matrices by step, in order."""
    files = sorted(workdir.similarity.glob("*.npz"))
    return {int(file.stem): file for file in files if re.fullmatch("[0-9]{8,}", file.stem)}


def read_similarity(workdir: Workdir) -> History:
    """Returns the recorded similarity matrices: step -> measure -> group -> ``[L, L]``.

    Damaged files are skipped.
    """
    history: History = {}
    for step, file in similarity_files(workdir).items():
        # The errors that damage causes are undocumented.
        with contextlib.suppress(
            ValueError, KeyError, EOFError, NotImplementedError, zlib.error, zipfile.BadZipFile
        ):
            history[step] = _matrices(file)
    return history


def _matrices(file: pathlib.Path) -> dict[str, dict[str, np.ndarray]]:
    with zipfile.ZipFile(file) as archive:
        # A malicious file could fill the memory. np.load reads at most these sizes.
        if sum(entry.file_size for entry in archive.infolist()) > MOST_SIMILARITY_BYTES:
            raise ValueError(f"{file} holds more than {MOST_SIMILARITY_BYTES} bytes")
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(file) as arrays:
        for name, matrix in arrays.items():
            measure, group = name.split("/", 1)
            if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
                raise ValueError(f"{name} of {file} is not a matrix over layers")
            found.setdefault(measure, {})[group] = matrix.astype(np.float32)
    return found


def _record(line: bytes) -> dict[str, Any] | None:
    """Returns the record on a line, or ``None``."""
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    step = record.get("step") if isinstance(record, dict) else None
    return record if type(step) is int and 0 <= step < 2**31 else None


def _seconds(record: Mapping[str, Any]) -> float:
    """Returns the run's time in seconds at a record; 0 if the record lacks it."""
    seconds = record.get(SECONDS)
    try:
        return float(seconds) if isinstance(seconds, (int, float)) and math.isfinite(seconds) else 0.0
    except OverflowError:  # an integer of hundreds of digits
        return 0.0


def _write_lines(file: pathlib.Path, records: list[dict[str, Any]]) -> None:
    durable.write(file, "".join(json.dumps(record) + "\n" for record in records).encode())
