"""Does it pay to align the channels of layers before templates are fitted to trained weights?

    python -m benchmarks.research.alignment

The channels between two layers may change places: a network that permutes the outputs of one layer and the
inputs of the next computes the same. Fitting takes turns: templates for the layers as they stand, then for
each hidden state the permutation that brings its layers nearest to what the templates make of them (linear
sum assignment, as the weight matching of Ainsworth et al. 2023, arXiv 2209.04836). That ends in a local
optimum; of two starts, the layers as they are and the layers aligned to their mean, the better end is shown.

The networks are those of ``benchmarks.research.forms``: realesr-animevideov3, where all 17 states between
convolutions are free, and the hidden layers of all-MiniLM-L6-v2. Prints the numbers of docs/pretrained.md.
"""

import argparse
import dataclasses
import pathlib
import tempfile
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from benchmarks.research import pretrained_networks as networks
from benchmarks.research.forms import Weights, group_weights, replaced
from softshare_jax import sharing

# Turns of fitting and permuting, at most; it ends when no permutation changes.
TURNS = 40


class Place(NamedTuple):
    """Where the channels of a state appear: an axis of the weight of a layer."""

    group: str
    layer: int
    axis: int


# The places of each state.
States = list[list[Place]]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packages", help="folder for the packages; a temporary one if it is not given")
    arguments = parser.parse_args()
    print("| network | templates | aligned | energy kept | score |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(arguments.packages or temporary)
        video = networks.animevideo(folder)
        # Convolution i reads state i and writes state i + 1.
        chain = [[Place("body", i - 1, 3)] * (i > 0) + [Place("body", i, 2)] * (i < 16) for i in range(17)]
        compare("animevideov3", video, chain)
        hidden = sharing.by_regex({"up": r"up_\d/kernel", "down": r"down_\d/kernel"})
        text = dataclasses.replace(networks.minilm(folder), rule=hidden)
        compare("all-MiniLM-L6-v2", text, [[Place("up", i, 1), Place("down", i, 0)] for i in range(6)])


def compare(name: str, network: networks.Network, states: States) -> None:
    """Prints the rows of a network."""
    plan = network.rule(network.params)
    dense = group_weights(plan, network.params)
    print(f"| {name} | – | – | 1 | {network.score(network.params)} |", flush=True)
    for share in (3, 2):
        templates = {group.name: group.layers // share for group in plan.groups}
        for aligned in (False, True):
            orders = align(dense, states, templates) if aligned else identity(dense, states)
            fitted = fit(permuted(dense, states, orders), templates)
            found = permuted(fitted, states, [np.argsort(order) for order in orders])
            score = network.score(replaced(plan, network.params, found))
            kept = 1 - squares(dense, found) / sum(np.sum(weights**2) for weights in dense.values())
            text = "yes" if aligned else "no"
            print(f"| {name} | L/{share} | {text} | {kept:.3f} | {score} |", flush=True)


def identity(dense: Weights, states: States) -> list[np.ndarray]:
    """Returns the permutations that change nothing."""
    return [np.arange(dense[places[0].group].shape[1 + places[0].axis]) for places in states]


def align(dense: Weights, states: States, templates: dict[str, int]) -> list[np.ndarray]:
    """Returns a permutation of each state: the better of two local optima of the squared error."""
    start = identity(dense, states)
    to_mean = improve(dense, states, dict.fromkeys(templates, 1), start)
    found = [improve(dense, states, templates, orders) for orders in (start, to_mean)]

    def error(orders: list[np.ndarray]) -> float:
        weights = permuted(dense, states, orders)
        return squares(weights, fit(weights, templates))

    return min(found, key=error)


def improve(
    dense: Weights, states: States, templates: dict[str, int], orders: list[np.ndarray]
) -> list[np.ndarray]:
    """Returns permutations with which the templates fit better, state by state, until none changes."""
    orders = list(orders)
    for _ in range(TURNS):
        changed = False
        for state, places in enumerate(states):
            weights = permuted(dense, states, orders)
            target = fit(weights, templates)
            # gain[i, j]: gain from putting channel j in place i
            gain = sum(by_channel(target, place) @ by_channel(weights, place).T for place in places)
            _, best = linear_sum_assignment(gain, maximize=True)
            changed |= bool(np.any(best != np.arange(len(best))))
            orders[state] = orders[state][best]
        if not changed:
            break
    return orders


def squares(dense: Weights, found: Weights) -> float:
    """Returns the squared error of all groups."""
    return float(sum(np.sum((weights - found[name]) ** 2) for name, weights in dense.items()))


def by_channel(weights: Weights, place: Place) -> np.ndarray:
    """Returns the weight of a layer with a row for each channel of a state."""
    weight = weights[place.group][place.layer]
    return np.moveaxis(weight, place.axis, 0).reshape(weight.shape[place.axis], -1)


def permuted(dense: Weights, states: States, orders: list[np.ndarray]) -> Weights:
    """Returns the weights with the channels of each state in another order."""
    found = {name: weights.copy() for name, weights in dense.items()}
    for places, order in zip(states, orders, strict=True):
        for group, layer, axis in places:
            found[group][layer] = np.take(found[group][layer], order, axis)
    return found


def fit(dense: Weights, templates: dict[str, int]) -> Weights:
    """Returns what the best templates of each group make of its layers: the nearest stack of rank k."""
    found = {}
    for name, weights in dense.items():
        rows = weights.reshape(len(weights), -1)
        _, vectors = np.linalg.eigh(rows @ rows.T)
        largest = vectors[:, -templates[name] :]
        found[name] = (largest @ (largest.T @ rows)).reshape(weights.shape)
    return found


if __name__ == "__main__":
    main()
