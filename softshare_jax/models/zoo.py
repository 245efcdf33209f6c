"""Networks by name: a constructor and a sharing rule for each."""

import re

from softshare_jax.errors import UserError, nearest
from softshare_jax.models import (
    bottleneck,
    densenet,
    gated_grid,
    grid_cnn,
    vision_transformer,
    wide_resnet,
)
from softshare_jax.models.cells import names as cells
from softshare_jax.models.network import Network, Options

__all__ = ["EXAMPLES", "Network", "Options", "named", "soft_shared"]

_MODULES = (wide_resnet, bottleneck, densenet, cells, grid_cnn, gated_grid, vision_transformer)
FAMILIES = tuple(family for module in _MODULES for family in module.FAMILIES)
EXAMPLES = tuple(example for family in FAMILIES for example in family.examples)


def named(name: str) -> Network:
    """Returns the network of a name, such as ``wrn-28-10`` or, shared, ``swrn-28-10-2``.

    Prefix ``s`` enables sharing; a trailing ``-k`` sets k templates (default: one per layer).

    Raises:
        UserError: the network does not exist, or the name asks for more templates than layers.
    """
    found = _find(name)
    if found is None:
        meant = _meant(name) or f"; names are such as {', '.join(EXAMPLES[::3])}"
        raise UserError(f"unknown network {name!r}{meant}")
    return found


def soft_shared(name: str, templates: int | None = None) -> str:
    """Returns the name of a network, shared or not, with k templates per group; ``None``: one per layer.

    Raises:
        UserError: the network does not exist.
    """
    return f"s{named(name).unshared}" + (f"-{templates}" if templates is not None else "")


def at_depth(name: str, depth: int) -> str:
    """Returns the name of a network with another depth: ``sgated-20-24`` with depth 80 is ``sgated-80-24``.

    Raises:
        UserError: no such network exists.
    """
    named(name)
    found = next((deeper for family in FAMILIES if (deeper := family.at_depth(name, depth))), None)
    if found is None:
        raise UserError(f"{name} has no depth in its name, so it cannot have {depth} layers")
    return named(found).name


def _find(name: str) -> Network | None:
    return next((network for family in FAMILIES if (network := family.network(name))), None)


def _meant(name: str) -> str:
    """Returns the end of a message with the nearest names: examples, or families with the given numbers."""
    numbers = re.findall(r"\d+(?:x\d+d?)?", name)
    stems = dict.fromkeys(re.sub(r"-\d.*", "", example) for example in EXAMPLES)
    unshared = [*("-".join([stem, *numbers]) for stem in stems), *EXAMPLES]
    names = [*unshared, *(f"s{each}" for each in unshared)]
    return nearest(name.lower(), [each for each in names if _exists(each)])


def _exists(name: str) -> bool:
    try:
        return _find(name) is not None
    except UserError:
        return False
