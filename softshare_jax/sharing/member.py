"""Where the weight of one layer is in a parameter tree: a leaf, a row of a stack, or a slice of either."""

import dataclasses
from typing import Any

from softshare_jax.sharing import tree
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.tree import Path


@dataclasses.dataclass(frozen=True, order=True)
class Slice:
    """A range of one axis of a weight.

    >>> str(Slice(axis=2, start=0, stop=16))
    ':, :, 0:16'

    Attributes:
        axis: axis of the weight of one layer, from 0. The axis that counts the layers of a stack is not one.
        start: first position.
        stop: position after the last one.

    Raises:
        PlanError: the axis or the start is negative, or the range is empty.
    """

    axis: int
    start: int
    stop: int

    def __post_init__(self) -> None:
        if self.axis < 0 or not 0 <= self.start < self.stop:
            raise PlanError(
                f"slice {self.start}:{self.stop} of axis {self.axis} is not valid: "
                "use an axis of 0 or more and 0 <= start < stop"
            )

    def __str__(self) -> str:
        return ", ".join([*(":" * self.axis), f"{self.start}:{self.stop}"])

    @property
    def size(self) -> int:
        """Length of the range."""
        return self.stop - self.start

    def of(self, array: Any) -> Any:
        """Returns the slice of an array."""
        return array[(slice(None),) * self.axis + (slice(self.start, self.stop),)]

    def of_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Returns the shape of the slice of a weight; ``None`` if the weight is too small for it."""
        if self.axis >= len(shape) or self.stop > shape[self.axis]:
            return None
        return (*shape[: self.axis], self.size, *shape[self.axis + 1 :])


@dataclasses.dataclass(frozen=True)
class Member:
    """The weight of one layer in a parameter tree.

    >>> Member("block_3/conv/kernel").keys
    ('block_3', 'conv', 'kernel')
    >>> str(Member("blocks/kernel", index=4, slice=Slice(axis=1, start=0, stop=16)))
    'blocks/kernel[4, :, 0:16]'

    Attributes:
        keys: keys of the leaf as text, from the root of the tree. A path such as
            ``'block_3/conv/kernel'`` is split at its slashes; pass the keys if one of them has a slash.
        index: row on the leading axis of a leaf that stacks several layers, as ``nn.scan`` does;
            ``None`` if the leaf is one layer.
        slice: the part of the layer that shares; the rest of it is private. ``None`` for all of it.
    """

    keys: Path
    index: int | None = None
    slice: Slice | None = None

    def __init__(self, path: str | Path, index: int | None = None, slice: Slice | None = None) -> None:
        keys = path.split("/") if isinstance(path, str) else path
        object.__setattr__(self, "keys", tuple(map(str, keys)))
        object.__setattr__(self, "index", index)
        object.__setattr__(self, "slice", slice)

    @property
    def path(self) -> str:
        """The leaf as people read it, such as ``'block_3/conv/kernel'``."""
        return tree.name(self.keys)

    @property
    def slice_of_leaf(self) -> Slice | None:
        """The slice with its axis counted in the leaf, where a stack has one axis more than a layer."""
        if self.slice is None or self.index is None:
            return self.slice
        return dataclasses.replace(self.slice, axis=self.slice.axis + 1)

    def __str__(self) -> str:
        parts = [str(part) for part in (self.index, self.slice) if part is not None]
        return f"{self.path}[{', '.join(parts)}]" if parts else self.path

    def of(self, leaf: Any) -> Any:
        """Returns the weight of the layer, given the array of the leaf."""
        layer = leaf if self.index is None else leaf[self.index]
        return layer if self.slice is None else self.slice.of(layer)

    def of_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Returns the shape of the weight, given that of the leaf; ``None`` if the leaf does not hold it."""
        if self.index is not None:
            if not shape:
                return None
            shape = shape[1:]
        return shape if self.slice is None else self.slice.of_shape(shape)
