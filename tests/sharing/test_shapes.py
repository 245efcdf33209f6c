"""Tests check annotated shapes: of arguments, of results and in containers."""

import jaxtyping
import numpy as np
import pytest

from softshare_jax import sharing
from softshare_jax.sharing import factors, lsm
from tests import shapes


def test_arguments():
    assert sharing.merge(np.eye(3), 0.5) == (0, 1, 2)
    for wrong in (np.ones((2, 3)), np.ones((2, 2), np.int32)):
        with pytest.raises(jaxtyping.TypeCheckError, match="matrix"):
            sharing.merge(wrong, 0.5)


def test_results(monkeypatch):
    weights = np.ones((4, 2, 3), np.float32)
    group = sharing.Group("g", tuple(map(sharing.Member, "abcd")), 2, (2, 3))
    monkeypatch.setattr(factors, "columns", lambda group, weights: weights.reshape(4, -1))
    with pytest.raises(jaxtyping.TypeCheckError, match="weights"):  # of NumPy, not of jax
        factors.factorize(group, weights)


def test_containers():
    @jaxtyping.jaxtyped(typechecker=shapes.check)
    def matrices(rows) -> dict[str, jaxtyping.Float[np.ndarray, "L L"]]:
        return {"g": rows}

    assert matrices(np.eye(2))
    with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
        matrices(np.ones((2, 3)))


def test_other_arguments_have_their_own_errors():
    with pytest.raises(sharing.PlanError, match="expected a plan, not str"):
        lsm.similarity("no plan", {})
