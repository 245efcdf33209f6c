"""Gradients of a batch that devices split: each takes those of its part, and one reduction averages them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from softshare_jax.training.mesh import AXIS

Gradient = Callable[[Any, Any, Any], tuple[Any, Any, Any]]


def split_over(mesh: Mesh, gradient: Gradient, specs: Any, dtype: Any) -> Gradient:
    """Returns a function of a global batch that lets each device work on its part of it.

    What is reduced is the gradient of the templates, after the contraction with the coefficients. Left
    to the partitioner, XLA reduces the gradient of every layer's weight before it, and the traffic is that
    of the unshared network.

    Args:
        mesh: of the run.
        gradient: ``(weights, others, batch) -> (gradients, updated, measured)`` of one device's part:
            the gradients of a mean over examples, what is alike on all devices, and what is measured
            example by example.
        specs: how the gradients are to lie on the mesh, as ``mesh.state_specs`` has it.
        dtype: in which they travel.
    """

    def on_device(weights, others, batch):
        # Each device differentiates by weights of its own. By weights that all share, the derivative
        # would be summed over devices wherever it is taken, which is once for each layer.
        weights = jax.lax.pcast(weights, AXIS, to="varying")
        gradients, updated, measured = gradient(weights, others, batch)
        return _mean(gradients, specs, dtype), updated, measured

    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(), PartitionSpec(AXIS)),
        out_specs=(specs, PartitionSpec(), PartitionSpec(AXIS)),
    )


def _mean(gradients: Any, specs: Any, dtype: Any) -> Any:
    """Returns the mean over devices; of a leaf that is split a device gets its own part alone."""

    def mean(gradient: jax.Array, spec: PartitionSpec) -> jax.Array:
        sent = gradient.astype(dtype)
        if AXIS in spec:
            total = jax.lax.psum_scatter(sent, AXIS, scatter_dimension=spec.index(AXIS), tiled=True)
        else:
            total = jax.lax.psum(sent, AXIS)
        return total.astype(gradient.dtype) / jnp.asarray(jax.lax.axis_size(AXIS), gradient.dtype)

    return jax.tree.map(mean, gradients, specs)
