"""The errors on CIFAR and ImageNet that the paper's authors published, to be shown beside those of runs.

From the poster of Savarese & Maire, "Learning Implicitly Recurrent CNNs Through Parameter Sharing",
ICLR 2019 (arXiv 1902.09701), which also cites other networks.
"""

import dataclasses

SOURCE = "Savarese & Maire 2019, published"

AUGMENTED, DROPOUT, CUTOUT = "+", "*", "cutout"


@dataclasses.dataclass(frozen=True)
class Published:
    """A row of the poster.

    Attributes:
        name: of the network, as it stands there.
        millions: of parameters.
        cifar10, cifar100, imagenet2012: test errors in percent; ``None`` where there is none.
        setting: ``'+'``, mirrored and shifted images; ``'*'``, those with dropout 0.3; ``'cutout'``,
            those with cutout.
    """

    name: str
    millions: float
    cifar10: float | None
    cifar100: float | None
    setting: str
    imagenet2012: float | None = None

    @property
    def label(self) -> str:
        """The name, with the star that the poster gives to dropout."""
        return self.name + (DROPOUT if self.setting == DROPOUT else "")


ROWS = (
    Published("ResNeXt-29 16x64", 68, 3.58, 17.31, AUGMENTED),
    Published("DenseNet 100-24", 27, 3.74, 19.25, AUGMENTED),
    Published("DenseNet-BC 190-40", 26, 3.46, 17.18, AUGMENTED),
    Published("WRN 28-10", 36, 4.0, 19.25, AUGMENTED),
    Published("WRN 28-10", 36, 3.89, 18.85, DROPOUT),
    Published("SWRN 28-10", 36, 3.88, 18.43, DROPOUT),
    Published("SWRN 28-10-2", 17, 3.75, 18.66, DROPOUT),
    Published("SWRN 28-14", 71, 3.67, 18.25, DROPOUT),
    Published("SWRN 28-14-2", 33, 3.69, 18.37, DROPOUT),
    Published("SWRN 28-18", 118, 3.48, 17.43, DROPOUT),
    Published("SWRN 28-18-2", 55, 3.43, 17.75, DROPOUT),
    Published("NASNet-A", 3.3, 2.65, None, CUTOUT),
    Published("NASNet-A", 27.6, 2.40, None, CUTOUT),
    Published("AmoebaNet-B", 2.8, 2.55, None, CUTOUT),
    Published("AmoebaNet-B", 13.7, 2.31, None, CUTOUT),
    Published("AmoebaNet-B", 34.9, 2.13, None, CUTOUT),
    Published("DARTS", 3.4, 2.83, None, CUTOUT),
    Published("SNAS", 2.8, 2.85, None, CUTOUT),
    Published("ENAS", 4.6, 2.89, None, CUTOUT),
    Published("WRN 28-10", 36.4, 3.08, None, CUTOUT),
    Published("SWRN 28-6-2", 6.1, 3.0, None, CUTOUT),
    Published("SWRN 28-10-2", 17.1, 2.69, None, CUTOUT),
    Published("SWRN 28-14-2", 33.5, 2.53, None, CUTOUT),
    Published("WRN 50-2", 69, None, None, AUGMENTED, 22.0),
    Published("DenseNet-264", 33, None, None, AUGMENTED, 22.15),
    Published("ResNet-200", 65, None, None, AUGMENTED, 21.66),
    Published("SWRN 50-2", 69, None, None, AUGMENTED, 21.74),
)


def errors(data: str, cutout: bool) -> list[tuple[Published, float]]:
    """Returns what was published for a data set, with cutout or without, and the errors in percent.

    Args:
        data: ``'cifar10'``, ``'cifar100'`` or ``'imagenet2012'``.
        cutout: whether training images have a hole.
    """
    found = [(row, getattr(row, data)) for row in ROWS if (row.setting == CUTOUT) is cutout]
    return [(row, error) for row, error in found if error is not None]
