"""The state of training: what a step changes and a checkpoint holds."""

from typing import Any

import flax
import jax
import optax

TRAINABLE = ("params", "templates", "coefficients")
# The collection that holds the moving average (EMA) of all others, where a run keeps one.
AVERAGE = "average"
Batch = dict[str, jax.Array]


class TrainState(flax.struct.PyTreeNode):
    """All that training changes.

    Attributes:
        step: steps taken, int32 scalar. Data order and randomness are functions of it, so a resumed run needs
            nothing else to continue bit for bit.
        variables: collections of the network: ``params``, ``templates``, ``coefficients``, ``batch_stats``;
            and ``average``, the moving average of all these, where the run keeps one.
        opt_state: the optimizer's state.
    """

    step: jax.Array
    variables: dict[str, Any]
    opt_state: optax.OptState


def trainable(variables: dict[str, Any]) -> dict[str, Any]:
    """Returns the collections that the optimizer updates."""
    return {name: variables[name] for name in TRAINABLE if name in variables}


def averaged(variables: dict[str, Any]) -> dict[str, Any]:
    """Returns the network that a run is evaluated by: the moving average where the run keeps one."""
    return variables.get(AVERAGE, variables)


def without_average(variables: dict[str, Any]) -> dict[str, Any]:
    """Returns the network that is trained, without the moving average."""
    return {name: tree for name, tree in variables.items() if name != AVERAGE}
