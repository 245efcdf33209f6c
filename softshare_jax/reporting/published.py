"""The tables of the paper's poster: what its authors published, to be shown beside runs.

From the poster of Savarese & Maire, "Learning Implicitly Recurrent CNNs Through Parameter Sharing",
ICLR 2019 (arXiv 1902.09701), which also cites other networks.
"""

import dataclasses
from typing import NamedTuple

SOURCE = "Savarese & Maire 2019, published"

AUGMENTED, DROPOUT, CUTOUT = "+", "*", "cutout"


@dataclasses.dataclass(frozen=True)
class Published:
    """A row of the poster. What it does not say is ``None``.

    Attributes:
        name: of the network, as it stands there.
        network: its name in the zoo.
        setting: ``'+'``, mirrored and shifted images (of ImageNet: mirrored and cut out of larger ones);
            ``'*'``, those with dropout 0.3; ``'cutout'``, those with cutout.
        millions: of parameters.
        cifar10, cifar100, imagenet2012: test errors in percent.
        top_5: of ``imagenet2012``, how often the class is not among the five likeliest, in percent.
        gpu_days: the search for it and its training.
    """

    name: str
    network: str
    setting: str
    millions: float | None = None
    cifar10: float | None = None
    cifar100: float | None = None
    imagenet2012: float | None = None
    top_5: float | None = None
    gpu_days: float | None = None

    @property
    def label(self) -> str:
        """The name, with the star that the poster gives to dropout."""
        return self.name + (DROPOUT if self.setting == DROPOUT else "")

    @property
    def dropout(self) -> float:
        """Its rate."""
        return 0.3 if self.setting == DROPOUT else 0.0

    @property
    def cutout(self) -> int:
        """Side in pixels of the hole in each training image."""
        return 16 if self.setting == CUTOUT else 0


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the poster, its rows in their order.

    Attributes:
        title: what it is about.
        data: the data sets on which it has errors.
        rows: its lines.
    """

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
        # In its plots of error against parameters alone, without figures. The settings are those that the
        # rows of their kind have: other authors' networks without dropout, soft-shared ones with it.
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


class Point(NamedTuple):
    """A published error, in percent, and the millions of parameters that it takes."""

    label: str
    millions: float
    error: float


def errors(data: str, cutout: bool) -> list[Point]:
    """Returns what was published for a data set, with cutout or without.

    Args:
        data: ``'cifar10'``, ``'cifar100'`` or ``'imagenet2012'``.
        cutout: whether training images have a hole.
    """
    return [
        Point(row.label, row.millions, error)
        for table in TABLES
        for row in table.rows
        if bool(row.cutout) is cutout
        and row.millions is not None
        and (error := getattr(row, data)) is not None
    ]


def find(network: str, data: str, dropout: float, cutout: int) -> Published | None:
    """Returns the row of a network that is trained so, ``None`` where the poster has none.

    Args:
        network: its name in the zoo.
        data: the name of a data set.
        dropout: its rate.
        cutout: side in pixels of the hole in each training image.
    """
    wanted = (network, dropout, cutout)
    rows = (row for table in TABLES if data in table.data for row in table.rows)
    return next((row for row in rows if (row.network, row.dropout, row.cutout) == wanted), None)
