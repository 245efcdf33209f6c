"""The state of training: what a step changes and a checkpoint holds."""

from typing import Any

import flax
import jax
import optax

from softshare_jax.sharing.parameters import COLLECTIONS

# The collections that the optimizer updates.
TRAINABLE = COLLECTIONS
# The collection with the exponential moving average (EMA) of all others, if the run keeps one.
AVERAGE = "average"
Batch = dict[str, jax.Array]


class TrainState(flax.struct.PyTreeNode):
    """Everything that training changes.

    Attributes:
        step: steps taken, int32 scalar. Data order and randomness are functions of it, so a resumed run
            continues bit for bit.
        variables: collections of the network: ``params``, ``templates``, ``coefficients``, ``residuals``,
            ``batch_stats``; and ``average``, the EMA of all these, if the run keeps one.
        opt_state: the optimizer's state.
    """

    step: jax.Array
    variables: dict[str, Any]
    opt_state: optax.OptState


def trainable(variables: dict[str, Any]) -> dict[str, Any]:
    """Returns the collections that the optimizer updates."""
    return {name: variables[name] for name in TRAINABLE if name in variables}


def averaged(variables: dict[str, Any]) -> dict[str, Any]:
    """Returns the variables to evaluate: the EMA if the run keeps one."""
    return variables.get(AVERAGE, variables)


def without_average(variables: dict[str, Any]) -> dict[str, Any]:
    """Returns the trained variables, without the EMA."""
    return {name: tree for name, tree in variables.items() if name != AVERAGE}
