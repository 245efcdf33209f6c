"""Networks by name: a constructor and a sharing rule for each."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from softshare_jax.errors import UserError
from softshare_jax.models.grid_cnn import GridCNN
from softshare_jax.sharing import Plan, Rule, by_regex


@dataclasses.dataclass(frozen=True)
class Network:
    """A named network.

    Attributes:
        name: as ``named`` takes it.
        build: dtype of the computation -> the plain network.
        rule: how it shares; the empty plan for an unshared network.
        input_shape: one example, ``(H, W, C)``.
    """

    name: str
    build: Callable[[Any], nn.Module]
    rule: Rule
    input_shape: tuple[int, int, int]


NAMES = (
    "cnn-DEPTH-CHANNELS, such as cnn-20-32",
    "scnn-DEPTH-CHANNELS, such as scnn-20-32: one template per layer",
    "scnn-DEPTH-CHANNELS-TEMPLATES, such as scnn-20-32-4",
)


def named(name: str) -> Network:
    """Returns the network of that name.

    ``cnn-20-32`` is the paper's network for shortest paths, twenty 3x3 blocks of 32 channels;
    ``scnn-20-32`` the same soft-shared with one template per layer, ``scnn-20-32-4`` with four.

    Raises:
        UserError: there is no such network, or it asks for more templates than it has layers.
    """
    match = re.fullmatch(r"(s?)cnn-([1-9]\d*)-([1-9]\d*)(?:-(\d+))?", name)
    if match is None or (match[4] and not match[1]):
        raise UserError(f"there is no network {name!r}; the names are {'; '.join(NAMES)}")
    shared, depth, channels = bool(match[1]), int(match[2]), int(match[3])
    templates = int(match[4]) if match[4] else None
    if shared and depth < 2:
        raise UserError(f"{name}: a group of one layer has nothing to share, take a depth of 2 or more")
    if templates is not None and not 1 <= templates <= depth:
        raise UserError(f"{name}: {depth} layers share 1 to {depth} templates, not {templates}")
    return Network(
        name=name,
        build=lambda dtype: GridCNN(depth, channels, dtype),
        rule=by_regex({"blocks": r"block_\d+/conv/kernel"}, templates) if shared else Plan(),
        input_shape=(32, 32, 2),
    )
