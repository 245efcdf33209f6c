"""Batch-norm whose backward pass reads the activations once and makes no centered copy of them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

Initializer = nn.initializers.Initializer


class BatchNorm(nn.Module):
    """``nn.BatchNorm`` over the last axis, with the same variables and the same result to rounding.

    ``nn.BatchNorm`` computes ``(x - mean) * scale / deviation + bias``, and its gradient needs ``x - mean``.
    This one computes ``x * factor + offset``. Its gradient needs the sums of ``g`` and of ``g * x`` alone.

    Attributes:
        use_running_average: whether to use the running statistics and not those of the batch.
        scale_init: initializer of the scale.
        momentum: decay of the running statistics.
        epsilon: added to the variance.
        dtype: dtype of the result; statistics are float32 or wider.
        axis_name: mapped axis over which the batch is split; ``None`` for a batch in one piece.
    """

    use_running_average: bool
    scale_init: Initializer = nn.initializers.ones
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[..., C]`` to ``[..., C]``."""
        channels = x.shape[-1:]
        scale = self.param("scale", self.scale_init, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        axes = tuple(range(x.ndim - 1))
        wide = x.astype(jnp.promote_types(jnp.float32, x.dtype))
        if self.use_running_average:
            mean, var = running_mean.value, running_var.value
        else:
            moments = jnp.stack([jnp.mean(wide, axes), jnp.mean(wide * wide, axes)])
            if self.axis_name is not None and not self.is_initializing():
                moments = lax.pmean(moments, self.axis_name)
            mean, square = moments
            var = jnp.maximum(square - mean * mean, 0)
            if not self.is_initializing():
                for running, new in ((running_mean, mean), (running_var, var)):
                    running.value = self.momentum * running.value + (1 - self.momentum) * new
        factor = scale * lax.rsqrt(var + self.epsilon)
        offset = bias - mean * factor
        return (wide * jnp.expand_dims(factor, axes) + jnp.expand_dims(offset, axes)).astype(self.dtype)
