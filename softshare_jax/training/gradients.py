"""Gradients of a batch split over devices: each computes its part, and one all-reduce averages them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from softshare_jax.training.mesh import AXIS

Gradient = Callable[[Any, Any, Any], tuple[Any, Any, Any]]


def split_over(mesh: Mesh, gradient: Gradient, specs: Any, dtype: Any) -> Gradient:
    """Returns a gradient function of the global batch in which each device computes its part.

    The all-reduce transfers the gradients of the templates, after the contraction with the coefficients.
    XLA's partitioner would reduce the gradient of every layer's weight before it, with the traffic of the
    unshared network.

    Args:
        mesh: the devices.
        gradient: ``(weights, others, batch) -> (gradients, updated, outputs)`` for one device's part:
            the gradients of a mean over examples, values that are equal on all devices, and values per
            example.
        specs: partition specs of the gradients, as ``mesh.state_specs`` returns them.
        dtype: precision of the all-reduce.
    """

    def on_device(weights, others, batch):
        # Differentiate with respect to a device's own copy of the weights. For replicated weights jax would
        # sum over the devices at each use, which is once per layer.
        weights = jax.lax.pcast(weights, AXIS, to="varying")
        gradients, updated, outputs = gradient(weights, others, batch)
        return _mean(gradients, specs, dtype), updated, outputs

    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(), PartitionSpec(AXIS)),
        out_specs=(specs, PartitionSpec(), PartitionSpec(AXIS)),
    )


def _mean(gradients: Any, specs: Any, dtype: Any) -> Any:
    """Returns the mean over devices; of a split leaf, each device gets only its part."""

    def mean(gradient: jax.Array, spec: PartitionSpec) -> jax.Array:
        sent = gradient.astype(dtype)
        if AXIS in spec:
            total = jax.lax.psum_scatter(sent, AXIS, scatter_dimension=spec.index(AXIS), tiled=True)
        else:
            total = jax.lax.psum(sent, AXIS)
        return total.astype(gradient.dtype) / jnp.asarray(jax.lax.axis_size(AXIS), gradient.dtype)

    return jax.tree.map(mean, gradients, specs)
