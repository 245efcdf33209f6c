"""Encoded images in any order, wherever they lie."""

from typing import NamedTuple, Protocol


class Encoded(NamedTuple):
    """An image as it lies on disk.

    Attributes:
        data: the content of its file.
        label: its class.
        name: what to call it in a message.
    """

    data: bytes
    label: int
    name: str


class Source(Protocol):
    """The images of a split, in any order; several threads may read at once.

    Attributes:
        class_names: by label.
    """

    class_names: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Encoded: ...
