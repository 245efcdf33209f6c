"""Networks by name: a constructor and a sharing rule for each."""

import re

from softshare_jax.errors import UserError, nearest
from softshare_jax.models import cifar, grid_cnn, imagenet
from softshare_jax.models.cells import names as cells
from softshare_jax.models.network import Network, Options, read

__all__ = ["EXAMPLES", "Network", "Options", "named", "soft_shared"]

# The first that knows a name has it.
_FAMILIES = (imagenet, cifar, cells, grid_cnn)
EXAMPLES = (*cifar.EXAMPLES, *imagenet.EXAMPLES, *cells.EXAMPLES, *grid_cnn.EXAMPLES)


def named(name: str) -> Network:
    """Returns the network of that name, such as ``wrn-28-10`` or ``swrn-28-10-2``, which shares.

    An ``s`` before a name shares with one template per layer, a number after that with so many.

    Raises:
        UserError: there is no such network, or it asks for more templates than it has layers.
    """
    found = _find(name)
    if found is None:
        meant = _meant(name) or f"; names are such as {', '.join(EXAMPLES[::3])}"
        raise UserError(f"unknown network {name!r}{meant}")
    return found


def soft_shared(name: str, templates: int | None = None) -> str:
    """Returns the name of a network, shared or not, with k templates a group; ``None``: one per layer.

    Raises:
        UserError: there is no such network.
    """
    return f"s{named(name).unshared}" + (f"-{templates}" if templates is not None else "")


def _find(name: str) -> Network | None:
    for family in _FAMILIES:
        found = read(name, family.PATTERN)
        if found is not None:
            return family.from_name(*found)
    return None


def _meant(name: str) -> str:
    """Returns what to say of names near one that does not exist: examples, and those with its numbers."""
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
