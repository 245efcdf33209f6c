"""Second moments of the inputs of layers: which errors of their weights change their outputs."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from softshare_jax.sharing.checks import check_plan
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.tree import Path


def input_moments(plan: Plan, run: Callable[[], Any]) -> dict[str, Float[Array, "_ _ _"]]:
    """Returns the second moments of the inputs of shared layers, for ``from_dense``.

    Reads them while a linen model runs, without ``jit``. Layers are whole kernels of ``nn.Dense``,
    ``nn.DenseGeneral`` and ``nn.Conv``, or their rows where ``nn.scan`` stacks them. The inputs of a
    convolution are the patches that its kernel sees.

    >>> import jax, jax.numpy as jnp
    >>> from flax import linen as nn
    >>> from softshare_jax import sharing
    >>> mlp, x = nn.Sequential([nn.Dense(4) for _ in range(3)]), jnp.ones((8, 4))
    >>> variables = mlp.init(jax.random.key(0), x)
    >>> plan = sharing.by_shape(1)(variables["params"])
    >>> moments = sharing.input_moments(plan, lambda: mlp.apply(variables, x))
    >>> moments["4x4"].shape
    (3, 4, 4)

    Args:
        plan: which layers share.
        run: applies the unshared model to sample data, such as ``lambda: model.apply(variables, x)``. Of
            stacked layers only the first use is read.

    Returns:
        ``{group: [L, p, p]}``: the mean of ``x x^T`` over all positions and examples, where p is the number
        of inputs of an output. Means over several batches of one size are the moments of all of them. Groups
        with a layer that is none of these are missing, for example slices and grouped convolutions.

    Raises:
        PlanError: no group can be read.
    """
    check_plan(plan)
    stacks = {m.keys for group in plan.groups for m in group.members if m.index is not None}
    # By use: all uses of a layer count as one, and those of a stack are its rows in order.
    sums: dict[Path, list[tuple[Array, int]]] = {path: [] for path in plan.leaves}

    def read(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        layer, path = context.module, (*context.module.path, "kernel")
        called = context.method_name == "__call__" and path in sums and args
        # A scan traces its layer before it runs it.
        if called and not isinstance(args[0], jax.core.Tracer):
            inputs = _inputs(layer, args[0])
            if inputs is not None:
                products, number = jnp.matmul(inputs.T, inputs, precision="highest"), len(inputs)
                if sums[path] and path not in stacks:
                    ((before, earlier),) = sums[path]
                    sums[path] = [(before + products, earlier + number)]
                else:
                    sums[path].append((products, number))
        return call(*args, **kwargs)

    # Without jit a scan is a loop in Python, where inputs have values.
    with jax.disable_jit(), nn.intercept_methods(read):
        run()
    moments = {}
    for group in plan.groups:
        uses = [(sums[member.keys], member.index or 0) for member in group.members]
        whole = all(member.slice is None for member in group.members)
        if whole and all(row < len(found) for found, row in uses):
            read_all = [found[row] for found, row in uses]
            moments[group.name] = jnp.stack([products / number for products, number in read_all])
    if not moments:
        raise PlanError(
            "no moments were read: no group has only whole kernels of nn.Dense, nn.DenseGeneral or nn.Conv"
        )
    return moments


def _inputs(layer: nn.Module, x: Array) -> Float[Array, "N p"] | None:
    """Returns what meets the kernel ``[p, outputs]`` at each position, in float32.

    ``None`` for layers that cannot be read: other modules, and convolutions with groups or a padding such as
    ``CIRCULAR``.
    """
    x = x.astype(jnp.float32)
    if isinstance(layer, nn.Dense):
        return x.reshape(-1, x.shape[-1])
    if isinstance(layer, nn.DenseGeneral):
        contracted = (layer.axis,) if isinstance(layer.axis, int) else tuple(layer.axis)
        last = tuple(range(-len(contracted), 0))
        if layer.batch_dims or tuple(axis % x.ndim - x.ndim for axis in contracted) != last:
            return None
        return x.reshape(-1, math.prod(x.shape[-len(contracted) :]))
    if not isinstance(layer, nn.Conv):
        return None
    kernel = layer.kernel_size if not isinstance(layer.kernel_size, int) else (layer.kernel_size,)
    axes = len(kernel)

    def each(value: Any) -> Any:
        return (value,) * axes if value is None or isinstance(value, int) else tuple(value)

    padding: Any = layer.padding
    readable = padding in ("SAME", "VALID")
    if not isinstance(padding, str):
        padding, readable = [(p, p) if isinstance(p, int) else tuple(p) for p in each(padding)], True
    if layer.feature_group_count != 1 or not readable:
        return None
    patches = jax.lax.conv_general_dilated_patches(
        jnp.moveaxis(x.reshape(-1, *x.shape[-axes - 1 :]), -1, 1),
        kernel,
        tuple(s or 1 for s in each(layer.strides)),
        padding,
        lhs_dilation=tuple(d or 1 for d in each(layer.input_dilation)),
        rhs_dilation=tuple(d or 1 for d in each(layer.kernel_dilation)),
    )
    # [B, C * positions of the kernel, ...]: channels come last in a kernel.
    by_channel = jnp.moveaxis(patches, 1, -1).reshape(-1, x.shape[-1], math.prod(kernel))
    return by_channel.swapaxes(1, 2).reshape(len(by_channel), -1)
