"""The layers of a network as rows of a stack, so that one compiled program runs any of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.models.anytime import Anytime

# Collections of a network: all of it, one layer of it, or layers stacked along a new first axis.
Variables = Mapping[str, Any]


def stack(network: Anytime, variables: Variables) -> dict[str, Any]:
    """Returns the variables of the layers, ``{collection: tree of [depth, ...]}``."""
    return {
        name: jax.tree.map(lambda *leaves: jnp.stack(leaves), *(tree[layer] for layer in network.layer_names))
        for name, tree in variables.items()
        if network.layer_names[0] in tree
    }


def unstack(network: Anytime, variables: Variables, rows: Variables) -> dict[str, Any]:
    """Returns variables whose layers are the rows of a stack."""

    def layers(tree: Any) -> dict[str, Any]:
        at = enumerate(network.layer_names)
        return {layer: jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i, layer in at}

    return {**variables, **{name: {**variables[name], **layers(tree)} for name, tree in rows.items()}}


@dataclasses.dataclass(frozen=True, eq=False)
class Turns:
    """Runs a network in training, layer by layer.

    Attributes:
        network: a linen module, unbound. Its layers differ in their variables only.
        images: ``[B, ...]``.
    """

    network: Anytime
    images: jax.Array

    def start(self, variables: Variables) -> tuple[jax.Array, dict[str, Any]]:
        """Returns the first state, and the variables with new statistics."""
        return self._apply(variables, self.images, method="start")

    def advance(
        self, variables: Variables, row: Variables, state: jax.Array
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Returns the state after a layer, and its row with new statistics.

        Args:
            variables: of the network.
            row: variables of the layer.
            state: ``[B, ...]``.
        """
        # Any layer runs as the first one, with its own variables.
        first = self.network.layer_names[0]
        given = {**variables, **{name: {**variables[name], first: layer} for name, layer in row.items()}}
        state, updated = self._apply(given, 0, state, self.images, method="advance")
        return state, {name: updated[name][first] for name in row}

    def answer(self, variables: Variables, states: jax.Array) -> jax.Array:
        """Maps states ``[N, B, ...]`` to logits ``[N, B, ...]``."""
        network = cast(nn.Module, self.network)
        flat = jnp.reshape(states, (-1, *states.shape[2:]))
        logits = cast(jax.Array, network.apply(variables, flat, method="answer"))
        return logits.reshape(*states.shape[:2], *logits.shape[1:])

    def _apply(self, variables: Variables, *args: Any, method: str) -> Any:
        network = cast(nn.Module, self.network)
        statistics = [name for name in variables if name != "params"]
        out, updated = network.apply(variables, *args, train=True, mutable=statistics, method=method)
        return out, {**variables, **updated}
