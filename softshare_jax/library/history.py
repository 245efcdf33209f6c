"""What a training loop records for its report."""

import operator
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from softshare_jax import sharing
from softshare_jax.conversion.network import is_array, is_random_key
from softshare_jax.errors import UserError, one_line
from softshare_jax.runs import records


class History:
    """Records layer similarity and scalars while a loop trains.

    >>> import jax.numpy as jnp
    >>> from softshare_jax import library, sharing
    >>> params = {f"layer_{i}": jnp.eye(4) * (i + 1) for i in range(3)}
    >>> plan = sharing.by_shape(templates=2)(params)
    >>> history = library.History(plan)
    >>> history.add(0, sharing.from_dense(plan, params), loss=0.7, accuracy=0.5)
    >>> history
    History of 1 step (0), with loss and accuracy

    Attributes:
        plan: which layers share.
        records: the scalars, in order.
        similarity: layer similarity matrices, step -> measure -> group -> ``[L, L]``.
        added: names of all scalars, in the order in which they were first added.
        variables: the newest variables, copied to the host, so that a loop may donate its own; ``None``
            before the first ``add``.
    """

    def __init__(self, plan: sharing.Plan):
        """Creates an empty history.

        Raises:
            UserError: ``plan`` is not a plan.
        """
        if not isinstance(plan, sharing.Plan):
            raise UserError("History takes a plan; a rule makes a plan: plan = rule(params)")
        self.plan = plan
        self.records: list[records.Record] = []
        self.similarity: records.History = {}
        self.added: dict[str, None] = {}
        self.variables: dict[str, Any] | None = None

    def add(self, step: int, variables: Mapping[str, Any], **scalars: float) -> None:
        """Adds a step of training.

        Args:
            step: number of steps taken; larger than that of the last call.
            variables: soft-shared variables at that step. Their newest values are kept.
            scalars: numbers by name, such as ``loss=0.3, accuracy=0.9``; arrays of one number count too.
                A number that is not finite, or 1e300 or more, is left out of the page.

        Raises:
            UserError: the step is not larger than the last one, or a scalar is not a number.
            PlanError: the variables are not those of the plan, or a layer is not finite.
        """
        step = _step(step)
        if self.records and step <= self.records[-1].step:
            raise UserError(f"step {step} comes after step {self.records[-1].step}: steps must increase")
        numbers = {name: _number(name, value) for name, value in scalars.items()}
        matrices = {
            measure: sharing.similarity(self.plan, variables, measure) for measure in sharing.MEASURES
        }
        self.similarity[step] = jax.device_get(matrices)
        self.added |= dict.fromkeys(numbers)
        finite = {name: value for name, value in numbers.items() if records.is_finite(value)}
        self.records.append(records.Record(step, finite))
        self.variables = jax.tree.map(_on_host, dict(variables))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scalars, in the order in which they were first added."""
        return tuple(dict.fromkeys(name for record in self.records for name in record.scalars))

    def __repr__(self) -> str:
        if not self.records:
            return "History without steps"
        first, last, number = self.records[0].step, self.records[-1].step, len(self.records)
        steps = f"{number} steps ({first} to {last})" if number > 1 else f"1 step ({first})"
        return f"History of {steps}" + (f", with {' and '.join(self.names)}" if self.names else "")


def _step(step: Any) -> int:
    try:
        number = operator.index(step)
    except TypeError:
        number = -1
    if number < 0:
        raise UserError(f"a step is a whole number, 0 or more, not {one_line(step, 40)}")
    return number


def _number(name: str, value: Any) -> float:
    try:
        return float(np.asarray(value).item())
    except (TypeError, ValueError):
        raise UserError(f"{name} is not a number: {one_line(value, 40)}") from None


def _on_host(leaf: Any) -> Any:
    return np.array(leaf) if is_array(leaf) and not is_random_key(leaf) else leaf
