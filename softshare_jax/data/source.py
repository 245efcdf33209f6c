"""The interface of data sources: random access to encoded images."""

from typing import NamedTuple, Protocol


class Encoded(NamedTuple):
    """An encoded image, as stored on disk.

    Attributes:
        data: content of the image file.
        label: class of the image.
        name: name of the image for messages.
    """

    data: bytes
    label: int
    name: str


class Source(Protocol):
    """Random access to the images of a split; several threads may read at once.

    Attributes:
        class_names: names of the classes, by label.
    """

    class_names: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Encoded: ...
