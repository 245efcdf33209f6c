"""Test examples with what the network made of them, drawn as the task requires."""

import base64
import dataclasses
import io
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from PIL import Image

from softshare_jax.errors import UserError
from softshare_jax.runs.read import Run
from softshare_jax.training.tasks import CifarTask, ImageNetTask, ShortestPathsTask, Task

# Pixels of the longer side of an image on the page; larger ones are photographs, and saved as such.
LARGEST, SMALL = 160, 64
log = logging.getLogger(__name__)


class Shown(NamedTuple):
    """An example on the page: its picture and the lines under it; ``right`` is ``None`` for a part."""

    picture: Markup
    lines: tuple[str, ...]
    right: bool | None = None


class Row(NamedTuple):
    """Examples that have something in common."""

    title: str
    examples: list[Shown]


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What the page shows of the test examples; without them, ``problem`` is a sentence that says why."""

    text: str = ""
    rows: tuple[Row, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()  # labels of the marks, and their CSS classes
    problem: str = ""


def predict(run: Run) -> Predictions:
    """Predicts some test examples of the last phase and shows the most telling ones; needs a checkpoint."""
    if run.experiment is None or run.variables is None:
        return Predictions()
    experiment = run.experiment
    number, show = _KINDS[type(experiment.task)]
    phase = experiment.task.phases - 1
    log.info("predicting up to %d test examples", number)
    try:
        data = experiment.task.first("test", phase, number)
        logits = experiment.evaluator.predict(
            experiment.programs.to_dense(run.variables), phase, len(data["images"])
        )
        return show(experiment.task, data["images"], data["labels"], logits)
    except UserError as error:
        named = run.config is not None and run.config.data_dir
        hint = " A report reads no data but those of its own --data_dir=DIR." if named else ""
        return Predictions(problem=f"No test examples: {error}.{hint}")


class Grid(NamedTuple):
    """A grid with two query points and the shortest paths between them, all arrays ``[H, W]`` bool."""

    points: np.ndarray
    obstacles: np.ndarray
    path: np.ndarray
    predicted: np.ndarray

    @property
    def errors(self) -> int:
        """How many pixels are missed or wrong."""
        return int((self.path ^ self.predicted).sum())


def choose(grids: Sequence[Grid], number: int = 4) -> tuple[list[Grid], list[Grid]]:
    """Chooses the grids with the longest paths and, among the others, those with the most errors.

    Returns:
        ``(long, wrong)``, up to ``number`` of each; no grid without errors is in the second.
    """
    by_length = sorted(grids, key=lambda grid: -int(grid.path.sum()))
    by_errors = sorted(by_length[number:], key=lambda grid: -grid.errors)
    return by_length[:number], [grid for grid in by_errors[:number] if grid.errors]


def show_grid(grid: Grid) -> Shown:
    """Draws a grid as SVG with a unit for each pixel."""
    height, width = grid.path.shape
    missed, wrong = grid.path & ~grid.predicted, grid.predicted & ~grid.path
    # What colors alone do not tell apart, marks do: squares, crosses and circles.
    marks = {
        "wall": (grid.obstacles, "M{x} {y}h1v1h-1z"),
        "right": (grid.path & grid.predicted, "M{x} {y}h1v1h-1z"),
        "missed": (missed, "M{x}.15 {y}.15h.7v.7h-.7z"),
        "wrong": (wrong, "M{x} {y}h1v1h-1z"),
        "cross": (wrong, "M{x}.3 {y}.3l.4 .4m0 -.4l-.4 .4"),
        "point": (grid.points, "M{x}.2 {y}.5a.3 .3 0 1 0 .6 0a.3 .3 0 1 0 -.6 0"),
    }
    drawn = "".join(
        f'<path class="{name}" d="{"".join(form.format(x=x, y=y) for y, x in np.argwhere(where))}"/>'
        for name, (where, form) in marks.items()
        if where.any()
    )
    counted = f"{grid.path.sum()} pixels, {missed.sum()} missed, {wrong.sum()} wrong"
    lines = "".join(f"M0 {y}h{width}" for y in range(1, height))
    lines += "".join(f"M{x} 0v{height}" for x in range(1, width))
    return Shown(
        Markup(
            f'<svg class="grid" viewBox="0 0 {width} {height}" role="img" aria-label="A path of {counted}">'
            f'{drawn}<path class="lines" d="{lines}"/></svg>'
        ),
        (counted,),
    )


def _show_paths(task: Task, images: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> Predictions:
    del task
    grids = [
        Grid(image[..., :-1].any(axis=-1), image[..., -1] > 0, label > 0, logit > 0)
        for image, label, logit in zip(images, labels, logits, strict=True)
    ]
    longest, worst = choose(grids)
    others = "; among the others, those with the most errors" if worst else "; the others have no errors"
    return Predictions(
        "The network marks every pixel on some shortest path between the two query points. Shown are, of the "
        f"first {len(images)} test examples of the last phase, those with the longest paths{others}.",
        _rows(("longest paths", map(show_grid, longest)), ("most errors", map(show_grid, worst))),
        tuple((name, name.split()[-1]) for name in ("right", "missed", "wrong", "wall", "query point")),
    )


class Classified(NamedTuple):
    """An image ``[H, W, 3]`` uint8, its class, and the one that the network finds most probable."""

    image: np.ndarray
    true: str
    predicted: str
    confidence: float  # the probability of that class


def classify(
    images: np.ndarray, labels: np.ndarray, logits: np.ndarray, names: Sequence[str]
) -> list[Classified]:
    """Returns examples from images ``[N, H, W, 3]``, labels ``[N]``, logits ``[N, C]`` and C names."""
    spaced = [name.replace("_", " ") for name in names]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    found = probabilities.argmax(axis=1)
    return [
        Classified(image, spaced[label], spaced[place], float(probability[place]))
        for image, label, place, probability in zip(images, labels, found, probabilities, strict=True)
    ]


def most_confidently_wrong(examples: Sequence[Classified], number: int = 8) -> list[Classified]:
    """Returns up to ``number`` examples with a wrong class, the most confident first."""
    wrong = [one for one in examples if one.predicted != one.true]
    return sorted(wrong, key=lambda one: -one.confidence)[:number]


def show_classified(one: Classified) -> Shown:
    """Encodes an image and says what it was taken for."""
    image, content = Image.fromarray(one.image), io.BytesIO()
    image.thumbnail((LARGEST, LARGEST))
    kind = "png" if max(image.size) <= SMALL else "jpeg"
    image.save(content, kind, optimize=True)
    uri = f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
    picture = Markup('<img class="pixels" src="{}" alt="test image, {}">').format(uri, one.true)
    right = one.predicted == one.true
    answer = f"{'✓' if right else '✗'} {one.predicted} {one.confidence:.0%}"
    return Shown(picture, (one.true, answer), right)


def _show_classes(task: Task, images: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> Predictions:
    assert isinstance(task, CifarTask | ImageNetTask)
    examples = classify(images, labels, logits, task.class_names())
    number = sum(one.predicted != one.true for one in examples)
    return Predictions(
        "Under each image is its class, then the class that the network finds most probable, with that "
        f"probability. The network is wrong on {number} of the first {len(examples)} test images.",
        _rows(
            ("the first test images", map(show_classified, examples[:8])),
            ("most confidently wrong", map(show_classified, most_confidently_wrong(examples))),
        ),
    )


def _rows(*chosen: tuple[str, Iterable[Shown]]) -> tuple[Row, ...]:
    found = [Row(title, list(examples)) for title, examples in chosen]
    return tuple(row for row in found if row.examples)


# Task -> how many of the first test examples are predicted, and the function that shows a selection.
_KINDS: dict[type[Task], tuple[int, Callable[..., Predictions]]] = {
    ShortestPathsTask: (64, _show_paths),
    CifarTask: (256, _show_classes),
    ImageNetTask: (256, _show_classes),
}
