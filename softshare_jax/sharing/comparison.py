"""Compares layers in float64 on the host, exactly enough to decide which are the same."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Float64

from softshare_jax.sharing.checks import check_finite
from softshare_jax.sharing.lsm import Measure, measured_rows
from softshare_jax.sharing.materialization import Variables, group_weights
from softshare_jax.sharing.plan import Group

_Numbers = np.ndarray[Any, Any]
# Numbers of each layer that are multiplied at once, so that a copy in float64 stays small.
CHUNK = 2**20


class Comparison(NamedTuple):
    """Every layer of a group compared with every other.

    Attributes:
        similarity: layer similarity matrix, ``[L, L]`` float64.
        scale: ``[L, L]`` float64; ``scale[j, i] W_i`` is the multiple of layer i nearest to layer j.
    """

    similarity: Float64[_Numbers, "L L"]
    scale: Float64[_Numbers, "L L"]


def compare(group: Group, variables: Variables, measure: Measure) -> Comparison:
    """Compares the layers of a group.

    In float32 the error of a cosine over a million weights exceeds the difference between two layers.
    Similarity is that of the weights before they are rounded to their dtype. Scale uses the rounded
    weights, as the network does, so it is exactly 1 between equal layers.

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


def exact_similarity(group: Group, variables: Variables, measure: Measure) -> Float64[_Numbers, "L L"]:
    """Returns the matrix that ``similarity`` returns for a group, ``[L, L]``, in float64.

    Layers with the same assigned template are exactly 1 similar.

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


def _inner_products(rows: Float[Array, "L ..."]) -> Float64[_Numbers, "L L"]:
    flat = rows.reshape(len(rows), -1)
    products = np.zeros((len(rows), len(rows)))
    for start in range(0, flat.shape[1], CHUNK):
        part = np.asarray(flat[:, start : start + CHUNK]).astype(np.float64)
        products += part @ part.T
    return products
