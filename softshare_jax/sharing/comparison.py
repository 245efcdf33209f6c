"""Compares layers in float64 on the host, exactly enough to decide which are the same."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Float64

from softshare_jax.sharing.checks import check_finite
from softshare_jax.sharing.group import Group
from softshare_jax.sharing.lsm import Measure, measured_columns
from softshare_jax.sharing.weights import Variables, columns, group_weights

_Numbers = np.ndarray[Any, Any]
# Numbers of each layer that are multiplied at once, so that a copy in float64 stays small.
CHUNK = 2**20


class Comparison(NamedTuple):
    """Every layer of a group compared with every other.

    Attributes:
        similarity: layer similarity matrix, ``[L, L]`` float64.
        scale: ``[L, L, C]`` float64; ``scale[j, i] W_i`` is the multiple of layer i nearest to layer j, for
            each channel if the group has coefficients per channel, else C = 1.
    """

    similarity: Float64[_Numbers, "L L"]
    scale: Float64[_Numbers, "L L C"]


def compare(group: Group, variables: Variables, measure: Measure, tied: bool = False) -> Comparison:
    """Compares the layers of a group.

    If merged layers become equal (``tied``), a similarity is negative between layers that point in opposite
    directions; channels with opposite signs cancel.

    In float32 the error of a cosine over a million weights exceeds the difference between two layers.
    Similarity is that of the weights before they are rounded to their dtype. Scale uses the rounded
    weights, as the network does, so it is exactly 1 between equal layers.

    Raises:
        ValueError: the measure is unknown.
        PlanError: a layer is not finite.
    """
    weights = group_weights(group, variables)
    check_finite(group, weights)
    products = _inner_products(columns(group, weights))
    squares = np.diagonal(products).T
    scale = products / np.where(squares > 0, squares, 1)
    similarity = exact_similarity(group, variables, measure)
    if tied:
        whole = np.abs(products).sum(axis=2)
        similarity *= np.where(whole > 0, products.sum(axis=2) / np.where(whole > 0, whole, 1), 1)
    return Comparison(similarity, scale)


def exact_similarity(group: Group, variables: Variables, measure: Measure) -> Float64[_Numbers, "L L"]:
    """Returns the matrix that ``similarity`` returns for a group, ``[L, L]``, in float64.

    Layers with the same assigned template are exactly 1 similar.

    Raises:
        ValueError: the measure is unknown.
        PlanError: a layer is not finite.
    """
    products = _inner_products(measured_columns(group, variables, measure))
    norms = np.sqrt(np.diagonal(products).T)
    whole = norms @ norms.T
    cosines = np.abs(products).sum(axis=2) / np.where(whole > 0, whole, 1)
    if group.assignment is not None:  # it decides, whatever the rounding
        cosines[np.equal.outer(group.assignment, group.assignment)] = 1.0
    bounded: Float64[_Numbers, "L L"] = np.minimum(cosines, 1.0)
    return bounded


def _inner_products(layers: Float[Array, "L q C"]) -> Float64[_Numbers, "L L C"]:
    number, length, channels = layers.shape
    products = np.zeros((channels, number, number))
    step = max(CHUNK // channels, 1)
    for start in range(0, length, step):
        part = np.moveaxis(np.asarray(layers[:, start : start + step]).astype(np.float64), 2, 0)
        products += part @ part.swapaxes(1, 2)
    return np.moveaxis(products, 0, 2)
