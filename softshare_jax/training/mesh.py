"""The device mesh: one axis, over which batches are split."""

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from softshare_jax.errors import UserError


def data_mesh(batch_size: int) -> Mesh:
    """Returns a mesh of all devices.

    Raises:
        UserError: they cannot split the batch evenly.
    """
    devices = jax.device_count()
    if batch_size % devices:
        raise UserError(f"config.batch_size is {batch_size}, which {devices} devices cannot split evenly")
    return jax.make_mesh((devices,), ("batch",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole: state and data sets."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch, split on its leading axis."""
    return NamedSharding(mesh, PartitionSpec("batch"))
