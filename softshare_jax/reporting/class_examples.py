"""Test images with their class and the one that the network took them for."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from softshare_jax.reporting.picture import add_axes, new_figure
from softshare_jax.reporting.theme import Theme

COLUMNS = 4


@dataclasses.dataclass(frozen=True)
class ClassExample:
    """One image.

    Attributes:
        image: ``[H, W, 3]`` uint8.
        true: name of its class.
        predicted: name of the class that the network finds most probable.
        confidence: that probability, from 0 to 1.
    """

    image: np.ndarray
    true: str
    predicted: str
    confidence: float


def from_arrays(
    images: np.ndarray, labels: np.ndarray, logits: np.ndarray, names: Sequence[str]
) -> list[ClassExample]:
    """Returns examples from images ``[N, H, W, 3]``, labels ``[N]``, logits ``[N, C]`` and C names."""
    spaced = [name.replace("_", " ") for name in names]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    found = probabilities.argmax(axis=1)
    return [
        ClassExample(image, spaced[label], spaced[place], float(probability[place]))
        for image, label, place, probability in zip(images, labels, found, probabilities, strict=True)
    ]


def most_confidently_wrong(examples: Sequence[ClassExample], number: int = 8) -> list[ClassExample]:
    """Returns up to ``number`` examples with a wrong class, the surest first."""
    wrong = [one for one in examples if one.predicted != one.true]
    return sorted(wrong, key=lambda one: -one.confidence)[:number]


def draw_classes(examples: Sequence[ClassExample], title: str, theme: Theme) -> Figure:
    """Draws images in lines of four, each over its class and what it was taken for."""
    side, gap, caption, head = 1.16, 0.12, 0.46, 0.42
    lines = -(-len(examples) // COLUMNS)
    height = head + lines * (side + caption)
    figure = new_figure(COLUMNS * (side + gap) - gap, height, theme)
    figure.text(0, 1 - 0.16 / height, title, color=theme.ink, fontsize=11, ha="left", va="center")
    for place, example in enumerate(examples):
        line, column = divmod(place, COLUMNS)
        bottom = height - head - side - line * (side + caption)
        axes = add_axes(figure, column * (side + gap) + 0.01, bottom, side - 0.02, side - 0.02, theme)
        axes.imshow(example.image, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        right = example.predicted == example.true
        answer = f"{'✓' if right else '✗'} {example.predicted} {example.confidence:.0%}"
        for text, color, offset in (
            (example.true, theme.ink, -0.05),
            (answer, theme.right if right else theme.wrong, -0.18),
        ):
            axes.text(
                0, offset, text, color=color, fontsize=8, va="top", transform=axes.transAxes, parse_math=False
            )
    return figure
