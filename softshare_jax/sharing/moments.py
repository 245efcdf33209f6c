"""Second moments of the inputs of layers: which errors of their weights change their outputs."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.tree import Path


def input_moments(plan: Plan, run: Callable[[], Any]) -> dict[str, Float[Array, "_ _ _"]]:
    """Returns the second moments of the inputs of shared layers, for ``from_dense``.

    Reads them while a linen model runs. Layers are whole kernels of ``nn.Dense`` and ``nn.Conv``; the inputs
    of a convolution are the patches that its kernel sees.

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
        run: applies the unshared model to sample data, such as ``lambda: model.apply(variables, x)``.

    Returns:
        ``{group: [L, p, p]}``: the mean of ``x x^T`` over all positions and examples, where p is the number
        of inputs of an output. Means over several batches of one size are the moments of all of them. Groups
        with a layer that is not such a kernel, such as a row of a stack or a slice, are missing.

    Raises:
        PlanError: no group has such kernels only, the model ran under ``jit``, where nothing can be read, or
            a shared convolution has feature groups or a padding such as ``CIRCULAR``.
    """
    shared = set(plan.leaves)
    sums: dict[Path, tuple[Array, int]] = {}

    def read(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        layer, path = context.module, (*context.module.path, "kernel")
        called = context.method_name == "__call__" and path in shared and args
        # Inside of loops there are no values.
        if called and isinstance(layer, nn.Dense | nn.Conv) and not isinstance(args[0], jax.core.Tracer):
            inputs = _inputs(layer, args[0])
            before, number = sums.get(path, (jnp.zeros(()), 0))
            sums[path] = before + jnp.matmul(inputs.T, inputs, precision="highest"), number + len(inputs)
        return call(*args, **kwargs)

    with nn.intercept_methods(read):
        run()
    means = {path: products / number for path, (products, number) in sums.items()}
    read_all = {
        group.name: [means[member.keys] for member in group.members]
        for group in plan.groups
        if all(m.keys in means and m.index is None and m.slice is None for m in group.members)
    }
    if not read_all:
        raise PlanError(
            "no moments were read: no group has whole kernels of nn.Dense or nn.Conv, "
            "or the model ran under jit"
        )
    return {name: jnp.stack(layers) for name, layers in read_all.items()}


def _inputs(layer: nn.Dense | nn.Conv, x: Array) -> Float[Array, "N p"]:
    """Returns what meets the kernel ``[p, outputs]`` at each position, in float32.

    Raises:
        PlanError: the convolution has groups, or a padding such as ``CIRCULAR``.
    """
    x = x.astype(jnp.float32)
    if isinstance(layer, nn.Dense):
        return x.reshape(-1, x.shape[-1])
    kernel = layer.kernel_size if not isinstance(layer.kernel_size, int) else (layer.kernel_size,)
    axes = len(kernel)

    def each(value: Any) -> Any:
        return (value,) * axes if value is None or isinstance(value, int) else tuple(value)

    padding: Any = layer.padding
    readable = padding in ("SAME", "VALID")
    if not isinstance(padding, str):
        padding, readable = [(p, p) if isinstance(p, int) else tuple(p) for p in each(padding)], True
    if layer.feature_group_count != 1 or not readable:
        raise PlanError(
            f"{'/'.join(layer.path)}: only convolutions without groups, with padding SAME, VALID or numbers, "
            "can be read"
        )
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
