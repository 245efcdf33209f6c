"""What a run achieved, from what its workdir recorded, and how that is written."""

from typing import NamedTuple

from softshare_jax.reporting.collect import Run

ACCURACY = "accuracy"
# The share of examples whose class is among the five likeliest.
TOP_5 = "top_5"
# What the splits are called on the page.
SPLITS = {"test": "test", "validation": "held out", "": "evaluation"}


class Measured(NamedTuple):
    """An accuracy as it was measured.

    Attributes:
        value: from 0 to 1.
        step: at which it was measured.
        split: what it was measured on: ``'test'``, ``'validation'`` for images that are held out, or
            empty where no config says which.
    """

    value: float
    step: int
    split: str

    @property
    def error(self) -> float:
        """The share of wrong answers in percent."""
        return error(self.value)


def error(accuracy: float) -> float:
    """Returns an accuracy from 0 to 1 as an error in percent."""
    return 100 * (1 - accuracy)


def score_name(run: Run) -> str:
    """Returns the name of the score, from the records where there is no config."""
    if run.experiment is not None:
        return run.experiment.task.score
    named = (key for record in run.metrics for key in record if key.startswith("target/"))
    return next(named, "target/score").removeprefix("target/")


def shown(name: str, value: float) -> tuple[str, str]:
    """Returns a score as the page shows it, name and value: an accuracy is shown as the error."""
    if name == ACCURACY:
        return "error", f"{error(value):.2f}%"
    return name, f"{value:.4f}"


def evaluated(run: Run) -> str:
    """Returns what the page calls the examples that are measured during training."""
    return SPLITS[run.experiment.task.evaluated if run.experiment else ""]


def accuracies(run: Run, name: str = ACCURACY) -> list[Measured]:
    """Returns the accuracies that were measured of a run with a config, those on test images first.

    Args:
        run: of a classifier.
        name: ``ACCURACY`` or ``TOP_5``.

    The records of a folded run up to the step of its fold are those of its source; what is its own is
    its certificate until it is trained on.
    """
    assert run.experiment is not None
    folded_at = -1 if run.certificate is None else run.certificate["step"]
    found = [
        Measured(record[key], record["step"], split)
        for key, split in ((f"test/{name}", "test"), (f"eval/{name}", run.experiment.task.evaluated))
        for record in run.metrics
        if isinstance(record.get(key), float | int) and record["step"] > folded_at
    ]
    if run.certificate is not None and name == ACCURACY:
        found.append(Measured(run.certificate["metric"]["after"], folded_at, "test"))
    return sorted(found, key=lambda one: one.split != "test")


def newest(measured: list[Measured]) -> Measured | None:
    """Returns the last one measured; of several at one step the first."""
    return max(measured, key=lambda one: one.step, default=None)
