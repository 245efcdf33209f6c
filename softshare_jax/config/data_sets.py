"""The section ``data`` of the config: a class for each data set."""

import dataclasses
from collections.abc import Iterator

from softshare_jax.config.field import field


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShortestPaths:
    """Data of the shortest-paths task, generated from the seed."""

    name: str = field("shortest_paths", "Name of the data set.")
    side: int = field(32, "Side of the grid, in pixels.", least=3)
    generator: str = field(
        "random",
        "Obstacles: random, independent pixels; or maze, walls that leave one path between any two cells. "
        "The side of a maze is odd; its cells are at every other pixel.",
        choices=("random", "maze"),
    )
    density: float = field(0.1, "Probability that a pixel is an obstacle; mazes ignore it.", least=0, below=1)
    windows: tuple[int, ...] = field(
        (5, 9, 13, 17, 21),
        "Curriculum: side of the window that contains the second point, for each phase. Odd, in pixels.",
        least=3,
    )
    phase: str = field("50 epochs", "Duration of a phase; the last phase lasts until the end.")
    split_points: bool = field(
        False,
        "Mark the first and the second point in channels of their own; images then have three channels. "
        "Otherwise one channel marks both, as in the paper.",
    )
    train_examples: int = field(5000, "Training examples of each phase.", least=1)
    test_examples: int = field(1000, "Test examples of each phase.", least=1)

    def mistakes(self) -> Iterator[str]:
        """Yields mistakes that bounds cannot express."""
        if not self.windows or any(window % 2 == 0 for window in self.windows):
            yield f"data.windows is {self.windows}; it must have an odd number for each phase"
        if self.generator == "maze":
            if self.side % 2 == 0:
                yield f"data.side is {self.side}; the side of a maze must be odd"
            if min(self.windows, default=5) < 5:
                yield f"data.windows is {self.windows}; the windows of mazes must be at least 5"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cifar:
    """CIFAR-10 or CIFAR-100: splits and augmentation."""

    name: str = field("cifar10", "Name of the data set: cifar10 or cifar100.")
    train_examples: int = field(50000, "Training images, from the start of the training split.", least=1)
    validation_examples: int = field(
        0,
        "Validation split: number of images from the end of the training split. If it is not 0, training "
        "evaluates on these images, and on the test split once at the end. The authors select models with "
        "45000 training and 5000 validation images.",
        least=0,
    )
    cutout: int = field(
        0, "Cutout: side of the hole in each training image, in pixels; 0: none.", least=0, most=32
    )
    label_smoothing: float = field(
        0.0, "Fraction of the target that is spread over all classes.", least=0, below=1
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageNet:
    """ImageNet, or images in the same layout, and how they are cropped."""

    name: str = field("imagenet2012", "Name of the data set.")
    classes: int = field(1000, "Number of classes; checked against the data set on disk.", least=2)
    train_examples: int = field(1281167, "Training images; checked against the data set on disk.", least=1)
    image_size: int = field(224, "Side of the images that the network sees, in pixels.", least=32)
    resize: int = field(
        256, "Evaluation resizes the shorter side to this many pixels and takes the center crop."
    )
    min_crop_area: float = field(
        0.08, "Smallest share of an image that a training crop covers.", above=0, most=1
    )
    label_smoothing: float = field(
        0.0, "Fraction of the target that is spread over all classes.", least=0, below=1
    )
    threads: int = field(
        0,
        "Threads per process that read and decode images; 0: one per core.",
        least=0,
        may_change=True,
    )

    def mistakes(self) -> Iterator[str]:
        """Yields mistakes that bounds cannot express."""
        if self.resize < self.image_size:
            yield f"data.resize is {self.resize}; it must be at least data.image_size = {self.image_size}"


Data = ShortestPaths | Cifar | ImageNet
DATA: dict[str, type[Data]] = {
    "shortest_paths": ShortestPaths,
    "cifar10": Cifar,
    "cifar100": Cifar,
    "imagenet2012": ImageNet,
}
