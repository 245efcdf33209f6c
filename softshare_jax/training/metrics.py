"""Metrics that accumulate over batches, in addition to those of clu."""

import flax
import jax
import jax.numpy as jnp
from clu import metrics


@flax.struct.dataclass
class F1(metrics.Metric):
    """F1 over pixels: 2 tp / (2 tp + fp + fn), counted over all examples.

    Attributes:
        true_positive: number of pixels that are predicted and on a path.
        wrong: number of pixels that are predicted or on a path, but not both.
    """

    true_positive: jax.Array
    wrong: jax.Array

    @classmethod
    def empty(cls) -> "F1":
        """Returns the metric of no examples."""
        return cls(true_positive=jnp.zeros(()), wrong=jnp.zeros(()))

    @classmethod
    def from_model_output(cls, *, logits: jax.Array, labels: jax.Array, mask: jax.Array, **_) -> "F1":
        """Counts a batch: logits and labels ``[B, H, W]``, mask ``[B]``, false for padding."""
        predicted, true = logits > 0, labels > 0
        counted = mask[:, None, None]
        return cls(
            true_positive=jnp.sum(predicted & true & counted, dtype=jnp.float32),
            wrong=jnp.sum((predicted ^ true) & counted, dtype=jnp.float32),
        )

    def merge(self, other: "F1") -> "F1":
        """Returns the metric of the union of both sets of examples."""
        return F1(self.true_positive + other.true_positive, self.wrong + other.wrong)

    def compute(self) -> jax.Array:
        """Returns F1 from 0 to 1; 1 if no pixel is predicted or on a path."""
        total = 2 * self.true_positive + self.wrong
        return jnp.where(total > 0, 2 * self.true_positive / jnp.maximum(total, 1), 1.0)


@flax.struct.dataclass
class PathMetrics(metrics.Collection):
    """Metrics of shortest paths."""

    loss: metrics.Average.from_output("loss")  # type: ignore[valid-type]
    f1: F1


@flax.struct.dataclass
class ClassMetrics(metrics.Collection):
    """Metrics of a classifier."""

    loss: metrics.Average.from_output("loss")  # type: ignore[valid-type]
    accuracy: metrics.Accuracy


def _among_five(logits: jax.Array, labels: jax.Array, **_) -> jax.Array:
    """Returns 1 for each example ``[B]`` whose class is among the five of the largest logits, otherwise 0.

    Of equal logits the first is the larger one, as for ``argmax``. A class whose logit is NaN is not among
    the five.
    """
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    before = jnp.arange(logits.shape[-1])[None] < labels[:, None]
    ahead = ~(logits <= own) | ((logits == own) & before)
    return (jnp.sum(ahead, axis=-1) < 5).astype(jnp.float32)


@flax.struct.dataclass
class TopMetrics(metrics.Collection):
    """Metrics of a classifier, including top-5 accuracy."""

    loss: metrics.Average.from_output("loss")  # type: ignore[valid-type]
    accuracy: metrics.Accuracy
    top_5: metrics.Average.from_fun(_among_five)  # type: ignore[valid-type]
