"""Metrics of classifiers."""

import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax.training.metrics import TopMetrics


def top_5(logits, labels):
    logits, labels = jnp.asarray(logits, jnp.float32), jnp.asarray(labels)
    given = {"logits": logits, "labels": labels, "loss": jnp.zeros(len(labels))}
    return float(
        TopMetrics.single_from_model_output(**given, mask=jnp.ones(len(labels), bool)).compute()["top_5"]
    )


def test_top_5_is_that_of_a_sort():
    random = np.random.default_rng(0)
    # Few values, so many logits are equal.
    logits, labels = random.integers(0, 6, (200, 20)), random.integers(0, 20, 200)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    assert top_5(logits, labels) == pytest.approx(np.mean((best == labels[:, None]).any(1)))


def test_no_answer_is_not_among_the_five():
    nothing = np.full((2, 1000), np.nan)
    assert top_5(nothing, [7, 800]) == 0
    assert top_5(np.zeros((2, 1000)), [3, 800]) == 0.5
