"""The device mesh: one axis, over which batches are split, and large leaves of the state where asked."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from softshare_jax.errors import UserError

# The name of the mesh's axis; batch-norm and the gradient take means over it.
AXIS = "batch"
# A leaf of fewer numbers is not worth a gather: every device holds it whole.
SMALLEST_SPLIT = 4096


def data_mesh(batch_size: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh of devices, ``None`` for all there are.

    Raises:
        UserError: they cannot split the batch evenly.
    """
    number = jax.device_count() if devices is None else len(devices)
    if batch_size % number:
        raise UserError(f"config.batch_size is {batch_size}, which {number} devices cannot split evenly")
    return jax.make_mesh((number,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole: data sets, and the state by default."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch, split on its leading axis."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def place(mesh: Mesh, tree: Any) -> Any:
    """Puts arrays that every process holds on all devices, whole."""

    def put(array) -> jax.Array:
        host = np.asarray(array)
        return jax.make_array_from_callback(host.shape, replicated(mesh), lambda index: host[index])

    return jax.tree.map(put, tree)


def state_specs(mesh: Mesh, tree: Any, shard: bool) -> Any:
    """Returns how the leaves of a state, or of weights or gradients, lie on the mesh.

    It is a function of a leaf's shape, so a weight, its gradient and what the optimiser keeps of it
    lie alike.

    Args:
        mesh: of the run.
        tree: arrays or their shapes.
        shard: split each large leaf over its longest axis that the devices divide; otherwise every
            device holds all.
    """

    def spec(leaf) -> PartitionSpec:
        divisible = [axis for axis, size in enumerate(leaf.shape) if size % mesh.size == 0]
        if not shard or leaf.size < SMALLEST_SPLIT or not divisible:
            return PartitionSpec()
        longest = max(divisible, key=lambda axis: leaf.shape[axis])
        return PartitionSpec(*[None] * longest, AXIS)

    return jax.tree.map(spec, tree)
