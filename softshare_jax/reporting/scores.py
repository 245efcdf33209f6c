"""What a run achieved and what it cost, from the records of its workdir, and how that is written."""

from typing import NamedTuple

from softshare_jax.errors import one_line
from softshare_jax.runs.read import Run
from softshare_jax.runs.records import SECONDS

ACCURACY = "accuracy"
# How often the class is among the five likeliest.
TOP_5 = "top_5"
# What the page calls the splits.
SPLITS = {"test": "test", "validation": "held out", "": "evaluation"}


class Measured(NamedTuple):
    """A score as it was measured."""

    value: float  # from 0 to 1
    step: int
    split: str  # 'test', 'validation' for held-out images, or empty if no config says which

    @property
    def error(self) -> float:
        """For an accuracy: the share of wrong answers in percent."""
        return 100 * (1 - self.value)


def name_of(run: Run) -> str:
    """Returns the name of the score; without a config, the name in the records."""
    if run.experiment is not None:
        return run.experiment.task.score
    if run.workdir is None:
        return run.score
    named = (key for record in run.records for key in record.scalars if key.startswith("target/"))
    return next(named, "target/score").removeprefix("target/")


def label(name: str) -> str:
    """Returns what the page calls a score."""
    return {"f1": "F1"}.get(name, name)


def shown(name: str, value: float) -> tuple[str, str]:
    """Returns the name and the value of a score as the page shows them: an accuracy becomes an error."""
    if is_accuracy(name, value):
        return "error", f"{100 * (1 - value):.2f}%"
    return label(name), f"{value:.4f}"


def is_accuracy(name: str, value: float) -> bool:
    """Returns whether a score is an accuracy as a fraction; a loop outside this package may use percent."""
    return name == ACCURACY and 0 <= value <= 1


def evaluated(run: Run) -> str:
    """Returns what the page calls the examples that are measured during training."""
    return SPLITS[run.experiment.task.evaluated if run.experiment else ""]


def folded_at(run: Run) -> int:
    """Returns the step of the fold; -1 if the run is not folded.

    Up to this step the records and the similarity history of a folded run are those of its source.
    """
    return -1 if run.certificate is None else run.certificate.step


def measured(run: Run, name: str, keys: dict[str, str]) -> list[Measured]:
    """Returns the own scores of a run, in order; a fold counts as a measurement.

    Args:
        run: folded or not.
        name: of the score.
        keys: prefix of its name in the records, such as ``'test'`` or none -> the split that it was measured
            on.
    """
    named = {f"{prefix}/{name}" if prefix else name: split for prefix, split in keys.items()}
    found = [
        Measured(record.scalars[key], record.step, split)
        for record in run.records
        for key, split in named.items()
        if key in record.scalars and record.step > folded_at(run)
    ]
    if run.certificate is not None and name != TOP_5:
        split = "test" if run.experiment else ""
        found.insert(0, Measured(run.certificate.difference.metric.after, run.certificate.step, split))
    return found


def accuracies(run: Run, name: str = ACCURACY) -> list[Measured]:
    """Returns the accuracies of a classifier with a config, those on test images first.

    Args:
        run: of a classifier.
        name: ``ACCURACY`` or ``TOP_5``.
    """
    assert run.experiment is not None
    found = measured(run, name, {"test": "test", "eval": run.experiment.task.evaluated})
    return sorted(found, key=lambda one: one.split != "test")


def newest(found: list[Measured]) -> Measured | None:
    """Returns the last score that was measured; of several at one step the first."""
    return max(found, key=lambda one: one.step, default=None)


def of_checkpoint(run: Run) -> Measured | None:
    """Returns the score of the checkpoint on the last phase; without a checkpoint, that of the last record.

    It is the score at that step or at the last evaluation before it, or ``None`` if there is none.
    """
    name = name_of(run)
    if run.experiment is not None and name == ACCURACY:
        found = accuracies(run)
    else:
        prefix = "" if run.workdir is None else "target"
        found = measured(run, name, {prefix: "test" if run.experiment else ""})
    return newest([one for one in found if run.step is None or one.step <= run.step])


def seconds(run: Run, step: int | None = None) -> float | None:
    """Returns the wall-clock time spent up to a step or to the end; ``None`` if it was not recorded."""
    spent = [
        record.scalars[SECONDS]
        for record in run.records
        if SECONDS in record.scalars and (step is None or record.step <= step)
    ]
    return spent[-1] if spent else None


def duration(spent: float) -> str:
    """Returns seconds in a unit that suits them: ``'48 s'``, ``'12 min'``, ``'3.4 h'``."""
    if spent < 100:
        return f"{spent:.0f} s"
    if spent < 100 * 60:
        return f"{spent / 60:.0f} min"
    return f"{spent / 3600:.1f} h"


def images(run: Run) -> str:
    """Returns what the images of a run are; empty if they are the official ones, or not recorded."""
    others = [one for one in run.data_sets if not one.official]
    return "; ".join(f"“{one_line(one.description)}” (digest {one.digest[:8]})" for one in others)


def data(run: Run) -> str:
    """Returns a sentence on the images of a run; empty if they are not recorded."""
    named = dict.fromkeys(one_line(f"{one.name} {one.version}", 40) for one in run.data_sets)
    if not named:
        return ""
    what = images(run)
    told = f"not known to be the official images: {what}" if what else "the official images"
    return f"{', then '.join(named)}, {told}"


def devices(run: Run) -> str:
    """Returns what a run was trained on, ``'1 × cpu'``, one after the other if it changed."""
    return ", then ".join(dict.fromkeys(f"{device.number} × {device.kind}" for device in run.devices))
