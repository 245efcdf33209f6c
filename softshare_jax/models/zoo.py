"""Networks by name: a constructor and a sharing rule for each."""

from softshare_jax.errors import UserError
from softshare_jax.models import cifar, grid_cnn, imagenet
from softshare_jax.models.cells import names as cells
from softshare_jax.models.network import Network, Options, read

__all__ = ["NAMES", "Network", "Options", "named", "soft_shared"]

# The first that knows a name has it.
_FAMILIES = (imagenet, cifar, cells, grid_cnn)
NAMES = (*cifar.NAMES, *cells.NAMES, *grid_cnn.NAMES, *imagenet.NAMES)


def named(name: str) -> Network:
    """Returns the network of that name, such as ``wrn-28-10`` or ``swrn-28-10-2``, which shares.

    An ``s`` before a name shares with one template per layer, a number after that with so many.

    Raises:
        UserError: there is no such network, or it asks for more templates than it has layers.
    """
    for family in _FAMILIES:
        found = read(name, family.PATTERN)
        if found is not None:
            return family.from_name(*found)
    raise UserError(f"there is no network {name!r}; the names are {'; '.join(NAMES)}")


def soft_shared(name: str, templates: int | None = None) -> str:
    """Returns the name of a network, shared or not, with k templates a group; ``None``: one per layer.

    Raises:
        UserError: there is no such network.
    """
    return f"s{named(name).unshared}" + (f"-{templates}" if templates is not None else "")
