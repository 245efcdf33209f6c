"""The tables of the paper's poster: what its authors published, to show beside runs.

From the poster of Savarese & Maire, "Learning Implicitly Recurrent CNNs Through Parameter Sharing",
ICLR 2019 (arXiv 1902.09701), which also cites other networks.
"""

import dataclasses
from typing import NamedTuple

SOURCE = "Savarese & Maire 2019, published"

AUGMENTED, DROPOUT, CUTOUT = "+", "*", "cutout"


@dataclasses.dataclass(frozen=True)
class Published:
    """A row of the poster; what it does not state is ``None``. Errors are on test images, in percent."""

    name: str  # as printed there
    network: str  # its name in the zoo
    # '+': mirrored and shifted images, or for ImageNet crops. '*': with dropout 0.3, 'cutout': with cutout.
    setting: str
    millions: float | None = None  # of parameters
    cifar10: float | None = None
    cifar100: float | None = None
    imagenet2012: float | None = None
    top_5: float | None = None  # of imagenet2012: how often the class is not among the five likeliest
    gpu_days: float | None = None  # for the search and the training

    @property
    def label(self) -> str:
        """The name, with the star that the poster gives to dropout."""
        return self.name + (DROPOUT if self.setting == DROPOUT else "")

    @property
    def dropout(self) -> float:
        """The dropout rate."""
        return 0.3 if self.setting == DROPOUT else 0.0

    @property
    def cutout(self) -> int:
        """Side in pixels of the hole in each training image."""
        return 16 if self.setting == CUTOUT else 0


class Table(NamedTuple):
    """A table of the poster, its rows in their order, and the data sets on which it has errors."""

    title: str
    data: tuple[str, ...]
    rows: tuple[Published, ...]


CIFAR = Table(
    "CIFAR-10 and CIFAR-100",
    ("cifar10", "cifar100"),
    (
        Published("ResNeXt-29 16x64", "resnext-29-16x64d", AUGMENTED, 68, 3.58, 17.31),
        Published("DenseNet 100-24", "densenet-100-24", AUGMENTED, 27, 3.74, 19.25),
        Published("DenseNet-BC 190-40", "densenet-bc-190-40", AUGMENTED, 26, 3.46, 17.18),
        Published("WRN 28-10", "wrn-28-10", AUGMENTED, 36, 4.0, 19.25),
        Published("WRN 28-10", "wrn-28-10", DROPOUT, 36, 3.89, 18.85),
        Published("SWRN 28-10", "swrn-28-10", DROPOUT, 36, 3.88, 18.43),
        Published("SWRN 28-10-2", "swrn-28-10-2", DROPOUT, 17, 3.75, 18.66),
        Published("SWRN 28-14", "swrn-28-14", DROPOUT, 71, 3.67, 18.25),
        Published("SWRN 28-14-2", "swrn-28-14-2", DROPOUT, 33, 3.69, 18.37),
        Published("SWRN 28-18", "swrn-28-18", DROPOUT, 118, 3.48, 17.43),
        Published("SWRN 28-18-2", "swrn-28-18-2", DROPOUT, 55, 3.43, 17.75),
        # Only in its plots of error against parameters, without numbers. Their settings are those of similar
        # rows: other authors' networks without dropout, soft-shared ones with it.
        Published("WRN 40-4", "wrn-40-4", AUGMENTED),
        Published("SWRN 28-10-1", "swrn-28-10-1", DROPOUT),
        Published("ResNeXt-29 8x64", "resnext-29-8x64d", AUGMENTED),
    ),
)
IMAGENET = Table(
    "ImageNet",
    ("imagenet2012",),
    (
        Published("WRN 50-2", "wrn-50-2", AUGMENTED, 69, imagenet2012=22.0, top_5=6.05),
        Published("DenseNet-264", "densenet-264", AUGMENTED, 33, imagenet2012=22.15, top_5=6.12),
        Published("ResNet-200", "resnet-200", AUGMENTED, 65, imagenet2012=21.66, top_5=5.79),
        Published("SWRN 50-2", "swrn-50-2", AUGMENTED, 69, imagenet2012=21.74, top_5=5.95),
    ),
)
SEARCH = Table(
    "CIFAR-10 with cutout, against architecture search",
    ("cifar10",),
    (
        Published("NASNet-A", "nasnet-a", CUTOUT, 3.3, 2.65, gpu_days=1800),
        Published("NASNet-A", "nasnet-a-20x96", CUTOUT, 27.6, 2.40, gpu_days=1800),
        Published("AmoebaNet-B", "amoebanet-b", CUTOUT, 2.8, 2.55, gpu_days=3150),
        Published("AmoebaNet-B", "amoebanet-b-20x80", CUTOUT, 13.7, 2.31, gpu_days=3150),
        Published("AmoebaNet-B", "amoebanet-b-20x128", CUTOUT, 34.9, 2.13, gpu_days=3150),
        Published("DARTS", "darts", CUTOUT, 3.4, 2.83, gpu_days=4),
        Published("SNAS", "snas", CUTOUT, 2.8, 2.85, gpu_days=1.5),
        Published("ENAS", "enas", CUTOUT, 4.6, 2.89, gpu_days=0.45),
        Published("WRN 28-10", "wrn-28-10", CUTOUT, 36.4, 3.08, gpu_days=0.4),
        Published("SWRN 28-6-2", "swrn-28-6-2", CUTOUT, 6.1, 3.0, gpu_days=0.25),
        Published("SWRN 28-10-2", "swrn-28-10-2", CUTOUT, 17.1, 2.69, gpu_days=0.4),
        Published("SWRN 28-14-2", "swrn-28-14-2", CUTOUT, 33.5, 2.53, gpu_days=0.7),
    ),
)
TABLES = (CIFAR, IMAGENET, SEARCH)


def errors(data: str, cutout: bool) -> list[tuple[str, float, float]]:
    """Returns what was published for a data set: label, millions of parameters and error.

    Args:
        data: ``'cifar10'``, ``'cifar100'`` or ``'imagenet2012'``.
        cutout: whether training images have a hole.
    """
    return [
        (row.label, row.millions, error)
        for table in TABLES
        for row in table.rows
        if bool(row.cutout) is cutout
        and row.millions is not None
        and (error := getattr(row, data)) is not None
    ]


def find(network: str, data: str, dropout: float, cutout: int) -> Published | None:
    """Returns the row of a network and its settings; ``None`` if the poster has none.

    Args:
        network: its name in the zoo.
        data: the name of a data set.
        dropout: its rate.
        cutout: side in pixels of the hole in each training image.
    """
    wanted = (network, dropout, cutout)
    rows = (row for table in TABLES if data in table.data for row in table.rows)
    return next((row for row in rows if (row.network, row.dropout, row.cutout) == wanted), None)
