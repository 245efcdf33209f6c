"""Test examples with what a run makes of them, drawn as its task asks."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from softshare_jax.errors import UserError
from softshare_jax.reporting import class_examples, examples
from softshare_jax.reporting.collect import Run
from softshare_jax.reporting.picture import Picture, draw
from softshare_jax.training.tasks import CifarTask, ImageNetTask, ShortestPathsTask, Task


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What the page shows of the test examples.

    Attributes:
        text: what there is to see.
        pictures: none where the examples could not be predicted.
        missing: a sentence that says why.
    """

    text: str = ""
    pictures: tuple[Picture, ...] = ()
    missing: tuple[str, ...] = ()


def draw_predictions(run: Run) -> Predictions:
    """Predicts some test examples of the last phase and draws the most telling ones.

    Nothing is drawn without a checkpoint.
    """
    if run.experiment is None or run.variables is None:
        return Predictions()
    experiment = run.experiment
    predicted, show = _KINDS[type(experiment.task)]
    phase = experiment.task.phases - 1
    try:
        data = experiment.task.first("test", phase, predicted)
        logits = experiment.evaluator.predict(
            experiment.programs.to_dense(run.variables), phase, len(data["images"])
        )
        return show(experiment.task, data["images"], data["labels"], logits)
    except UserError as error:
        named = run.config is not None and run.config.data_dir
        hint = " A report reads no data but those of its own --data_dir=DIR." if named else ""
        return Predictions(missing=(f"No test examples: {error}.{hint}",))


def _show_paths(task: Task, images: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> Predictions:
    del task
    longest, worst = examples.choose(examples.from_arrays(images, labels, logits))
    others = (
        " and, among the others, those with the most errors"
        if worst
        else "; among the others none has an error"
    )
    text = (
        "Every pixel on some shortest path between the two query points is to be marked. "
        f"Of the first {len(images)} test examples of the last phase, those with the longest paths"
        f"{others}."
    )
    chosen = {
        ("examples-long.png", "longest paths"): longest,
        ("examples-errors.png", "most errors"): worst,
    }
    return Predictions(text, _draw("Test examples", examples.draw_examples, chosen))


def _show_classes(task: Task, images: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> Predictions:
    assert isinstance(task, CifarTask | ImageNetTask)
    judged = class_examples.from_arrays(images, labels, logits, task.class_names())
    wrong = class_examples.most_confidently_wrong(judged)
    number = sum(one.predicted != one.true for one in judged)
    surest = ", and the wrong ones of which it is most sure" if wrong else ""
    text = (
        "Under each image its class, and the class that the network finds most probable, with that "
        f"probability. It is wrong on {number} of the first {len(judged)} test images; here are the first "
        f"ones{surest}."
    )
    chosen = {
        ("examples-first.png", "the first test images"): judged[:8],
        ("examples-errors.png", "most confidently wrong"): wrong,
    }
    return Predictions(text, _draw("Test images", class_examples.draw_classes, chosen))


def _draw(
    what: str, figure: Callable[..., Figure], chosen: dict[tuple[str, str], list]
) -> tuple[Picture, ...]:
    """Draws the examples chosen for each file and title, where there are any."""
    return tuple(
        draw(file, f"{what} with predictions: {title}", functools.partial(figure, some, title))
        for (file, title), some in chosen.items()
        if some
    )


# Of the first test examples so many are predicted, to choose from, and shown so.
_KINDS: dict[type[Task], tuple[int, Callable[..., Predictions]]] = {
    ShortestPathsTask: (64, _show_paths),
    CifarTask: (256, _show_classes),
    ImageNetTask: (256, _show_classes),
}
