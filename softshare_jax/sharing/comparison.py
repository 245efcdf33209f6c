"""Layers compared exactly enough to decide about them: in float64, on the host."""

from typing import NamedTuple

import jax
import numpy as np

from softshare_jax.sharing.checks import check_finite
from softshare_jax.sharing.lsm import Measure, measured_rows
from softshare_jax.sharing.materialization import Variables, group_weights
from softshare_jax.sharing.plan import Group

# Numbers of each layer that are multiplied at once, so that a copy in float64 stays small.
CHUNK = 2**20


class Comparison(NamedTuple):
    """Every layer of a group beside every other.

    Attributes:
        similarity: the layer similarity matrix, ``[L, L]`` float64.
        scale: ``[L, L]`` float64; ``scale[j, i] W_i`` is the multiple of layer i that is nearest to layer j.
    """

    similarity: np.ndarray
    scale: np.ndarray


def compare(group: Group, variables: Variables, measure: Measure) -> Comparison:
    """Compares the layers of a group.

    In float32 a cosine over a million weights is off by more than what tells two layers apart. Similarity is
    that of the weights before they are rounded to their dtype; scale is about the weights as the network
    uses them, so that it is exactly 1 between equal layers.

    Raises:
        ValueError: the measure is unknown.
        PlanError: a layer is not finite.
    """
    weights = group_weights(group, variables)
    check_finite(group, weights)
    products = _inner_products(weights)
    squares = np.diagonal(products)
    scale = products / np.where(squares > 0, squares, 1)
    return Comparison(exact_similarity(group, variables, measure), scale)


def exact_similarity(group: Group, variables: Variables, measure: Measure) -> np.ndarray:
    """Returns what ``similarity`` does for a group, ``[L, L]`` float64.

    Layers that an assignment ties are exactly 1 similar.

    Raises:
        ValueError: the measure is unknown.
        PlanError: a layer is not finite.
    """
    products = _inner_products(measured_rows(group, variables, measure))
    norms = np.sqrt(np.diagonal(products))
    cosines = np.abs(products) / np.where(norms > 0, norms, 1) / np.where(norms > 0, norms, 1)[:, None]
    if group.assignment is not None:  # it decides, whatever the rounding
        cosines[np.equal.outer(group.assignment, group.assignment)] = 1.0
    return np.minimum(cosines, 1.0)


def _inner_products(rows: jax.Array) -> np.ndarray:
    """Returns the inner products ``[L, L]`` of layers ``[L, ...]``."""
    flat = rows.reshape(len(rows), -1)
    products = np.zeros((len(rows), len(rows)))
    for start in range(0, flat.shape[1], CHUNK):
        part = np.asarray(flat[:, start : start + CHUNK]).astype(np.float64)
        products += part @ part.T
    return products
