"""Losses of several tasks."""

import jax
import optax


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float = 0.0) -> jax.Array:
    """Returns the cross-entropy of each example ``[B]`` in nats.

    Args:
        logits: ``[B, C]``.
        labels: ``[B]``.
        smoothing: fraction of the target that is spread over all classes.
    """
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    if smoothing:
        targets = optax.smooth_labels(targets, smoothing)
    return optax.softmax_cross_entropy(logits, targets)
