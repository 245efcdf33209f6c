"""Training of a folded network as a loop, so that it can run for longer than it was trained."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from softshare_jax.models.anytime import Anytime
from softshare_jax.training.disturbance import QUIET, Disturbance
from softshare_jax.training.turns import Turns, Variables, stack, unstack


class Answers(NamedTuple):
    """The answers of a network in one step.

    Attributes:
        logits: after each layer that may have a gradient, ``[N, B, ...]``.
        weights: weight of the loss of each answer, ``[N]``; they sum to 1.
        last: index of the last answer; those that follow repeat it and have no weight.
    """

    logits: jax.Array
    weights: jax.Array
    last: jax.Array


@dataclasses.dataclass(frozen=True)
class LoopTraining:
    """Answers after every layer of the second half, part of the time behind a detached prefix.

    This is the progressive loss of Bansal et al. 2022 (arXiv 2202.05826). Where they draw one layer for an
    earlier answer, every layer of the second half gives one here: the same on average, and steadier. In some
    steps a prefix of random length has no gradient and only prepares a state, so the layers after it learn
    to continue from any state. With a window, a step ends after that many layers behind the prefix. A deep
    network then costs little more than a network of the window's depth, and learns to continue from states
    of all ages.

    Attributes:
        weight: weight of the mean loss over the second half; the loss after the last layer has the rest.
        detach_rate: probability that a step detaches a prefix.
        window: most layers with a gradient; 0 for all that follow the prefix.
        disturbance: of the state.
    """

    weight: float
    detach_rate: float
    window: int = 0
    disturbance: Disturbance = QUIET

    def run(
        self, network: Anytime, variables: Variables, images: jax.Array, key: jax.Array, step: jax.Array
    ) -> tuple[Answers, dict[str, Any]]:
        """Returns the answers of a step, and the variables with its statistics.

        Args:
            network: a linen module, unbound.
            variables: its dense variables.
            images: ``[B, ...]``.
            key: random key of the step; equal on all devices.
            step: number of steps taken, for the schedule of the disturbance.
        """
        depth = network.depth
        window = min(self.window, depth) or depth
        whether, how_long, noisy, updated, swapped = jax.random.split(key, 5)
        length = jax.random.randint(how_long, (), 0, depth if window == depth else depth - window + 1)
        prefix = jnp.where(jax.random.bernoulli(whether, self.detach_rate), length, 0)
        last = jnp.minimum(prefix + window, depth)

        turns = Turns(network, images)
        earlier = Turns(network, self.disturbance.swapped(swapped, images))
        state, variables = turns.start(variables)
        rows = stack(network, variables)
        params, statistics = rows.pop("params"), rows
        disturb = self.disturbance.noisy(noisy, step, state)
        update = self.disturbance.updated(updated, len(state))

        def prepare(turn: jax.Array, carry: Any) -> Any:
            state, statistics = carry
            row = _take({"params": params, **statistics}, turn)
            following, row = earlier.advance(*jax.lax.stop_gradient((variables, row)), disturb(state, turn))
            statistics = {name: _put(tree, turn, row[name]) for name, tree in statistics.items()}
            return update(state, following, turn), statistics

        prepared, statistics = jax.lax.fori_loop(
            0, prefix, prepare, jax.lax.stop_gradient((state, statistics))
        )
        # Without a prefix the first state keeps its gradient.
        state = jnp.where(prefix > 0, prepared, state)

        # A layer is computed again for its gradient: on CPUs that is faster than keeping what it computed.
        @functools.partial(jax.checkpoint, prevent_cse=False)
        def train(state: jax.Array, inputs: Any) -> Any:
            turn, row = inputs
            # Without a window, a prefix leaves fewer layers than turns.
            following, row = jax.lax.cond(
                turn < last,
                lambda: turns.advance(variables, row, disturb(state, turn)),
                lambda: (state, row),
            )
            state = update(state, following, turn)
            return state, (state, {name: row[name] for name in statistics})

        trained = prefix + jnp.arange(window)
        inputs = trained, _take({"params": params, **statistics}, trained)
        _, (states, updated) = jax.lax.scan(train, state, inputs)
        statistics = {name: _put(tree, trained, updated[name]) for name, tree in statistics.items()}
        # The second half of the window, without the layers of the prefix; at least the last layer.
        counted = (trained >= last - (window + 1) // 2) & (trained < last)
        weights = self.weight * counted / jnp.sum(counted) + (1 - self.weight) * (trained == last - 1)
        answers = Answers(turns.answer(variables, states), weights, last - prefix - 1)
        return answers, unstack(network, variables, statistics)


def _take(rows: Any, turn: jax.Array) -> Any:
    """Takes one or more layers from a stack; the last layer stands for any that follow it."""
    return jax.tree.map(lambda leaf: jnp.take(leaf, turn, axis=0, mode="clip"), rows)


def _put(rows: Any, turn: jax.Array, new: Any) -> Any:
    """Puts one or more layers into a stack, without those that follow the last one."""
    return jax.tree.map(lambda leaf, row: leaf.at[turn].set(row, mode="drop"), rows, new)
