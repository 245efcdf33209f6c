"""The device mesh: one axis that splits batches and, on request, large leaves of the state."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from softshare_jax.errors import UserError

# The name of the mesh's axis; batch-norm and the gradient take means over it.
AXIS = "batch"
# Smaller leaves are not worth a gather; every device holds them whole.
SMALLEST_SPLIT = 4096


def data_mesh(batch_size: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh of devices, ``None`` for all.

    Raises:
        UserError: the devices cannot split the batch evenly.
    """
    number = jax.device_count() if devices is None else len(devices)
    if batch_size % number:
        raise UserError(f"config.batch_size is {batch_size}; it must be a multiple of {number} (devices)")
    return jax.make_mesh((number,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def platform(mesh: Mesh) -> str:
    """Returns the platform of the devices, such as ``"cpu"``."""
    return mesh.devices.flat[0].platform


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays that every device holds whole: data sets, and the state by default."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch, split on its leading axis."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def place(mesh: Mesh, tree: Any) -> Any:
    """Copies arrays, which every process holds, to all devices."""

    def put(array) -> jax.Array:
        host = np.asarray(array)
        return jax.make_array_from_callback(host.shape, replicated(mesh), lambda index: host[index])

    return jax.tree.map(put, tree)


def state_specs(mesh: Mesh, tree: Any, shard: bool) -> Any:
    """Returns the partition specs of a state, or of weights or gradients.

    They depend on the shape of a leaf only, so a weight, its gradient and its optimizer state match.

    Args:
        mesh: the devices.
        tree: arrays or their shapes.
        shard: split each large leaf over its longest axis that is a multiple of the number of devices;
            otherwise every device holds all leaves whole.
    """

    def spec(leaf) -> PartitionSpec:
        divisible = [axis for axis, size in enumerate(leaf.shape) if size % mesh.size == 0]
        if not shard or leaf.size < SMALLEST_SPLIT or not divisible:
            return PartitionSpec()
        longest = max(divisible, key=lambda axis: leaf.shape[axis])
        return PartitionSpec(*[None] * longest, AXIS)

    return jax.tree.map(spec, tree)
