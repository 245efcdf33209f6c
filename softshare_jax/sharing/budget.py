"""How many templates each group gets, and which rank, under one budget of parameters."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from softshare_jax.sharing.dense import finite_members, root_of_squares, truncation_errors
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.factors import principal, singular_values
from softshare_jax.sharing.group import Group
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.rules import Rule
from softshare_jax.sharing.tree import PyTree, leaves
from softshare_jax.sharing.weights import combine, in_float32

_Numbers = np.ndarray[Any, Any]


def by_budget(rule: Rule, parameters: int, ranks: Sequence[int] = ()) -> Rule:
    """Chooses k for every group, and the rank of residuals, so that given weights lose least within a budget.

    Minimizes the squared error of the weights, summed over all groups, over all choices of 1 to L
    templates per group, and of a rank, that keep the network within the budget. This knapsack is solved
    exactly. Without residuals the errors are those of ``from_dense``. With residuals they are those of the
    best templates and then the best residuals; ``from_dense`` continues from there and loses less.

    >>> import jax.numpy as jnp
    >>> from softshare_jax.sharing import by_shape
    >>> same, different = jnp.ones((4, 4)), jnp.eye(4)
    >>> params = {"a": [{"w": same}, {"w": same}], "b": [{"w": different[:3]}, {"w": 1 - different[:3]}]}
    >>> {group.name: group.templates for group in by_budget(by_shape(), 50)(params).groups}
    {'4x4': 1, '3x4': 2}

    Args:
        rule: rule or plan that makes the groups; its numbers of templates are not used.
        parameters: largest number of parameters of the network: templates, coefficients, residuals and
            private.
        ranks: ranks to choose from, such as ``(0, 4, 8, 16)``; groups whose weights are too small for one do
            not consider it. Empty: groups keep their rank.

    Returns:
        A rule. Unlike other rules it needs the weights themselves; their shapes are not enough.

    Raises:
        PlanError: the rule raises it if the smallest choice for each group is already too many, if it is
            given shapes, or if a layer is not finite.
    """

    def budgeted(params: PyTree) -> Plan:
        plan = rule(params)
        _, dense = finite_members(plan, params)
        private = sum(math.prod(array.shape) for array in leaves(params).values())
        private -= sum(group.layers * math.prod(group.shape) for group in plan.groups)
        choices = [_choices(group, dense[group.name], ranks) for group in plan.groups]
        costs = [np.array([group.parameters for group, _ in options]) for options in choices]
        errors = [np.array([error for _, error in options]) for options in choices]
        least = private + sum(int(cost.min()) for cost in costs)
        if least > parameters:
            raise PlanError(f"a budget of {parameters} is too small: one template a group takes {least}")
        chosen = _cheapest_error(costs, errors, parameters - private)
        return Plan(tuple(options[at][0] for options, at in zip(choices, chosen, strict=True)))

    return budgeted


def _choices(
    group: Group, weights: Float[Array, "L *shape"], ranks: Sequence[int]
) -> list[tuple[Group, float]]:
    """Returns what a group may become, and the squared error of its weights."""
    considered = sorted({rank for rank in ranks if rank <= min(group.matrix)}) or [group.rank]
    full = dataclasses.replace(group, templates=group.layers, assignment=None, tied=False)
    plain = truncation_errors(root_of_squares(singular_values(group, weights)))
    if max(considered):
        templates, coefficients = principal(full, weights)
    found = []
    for k in range(1, group.layers + 1):
        errors = plain[k - 1 : k]
        if max(considered):
            rest = in_float32(weights) - combine(coefficients[:, :k], templates[:k])
            _, values, _ = jnp.linalg.svd(rest.reshape(-1, *group.matrix), full_matrices=False)
            errors = np.append(errors, truncation_errors(root_of_squares(values)))
        found += [
            (dataclasses.replace(full, templates=k, rank=rank), float(errors[rank])) for rank in considered
        ]
    return found


def _cheapest_error(costs: list[_Numbers], errors: list[_Numbers], budget: int) -> list[int]:
    """Returns one option of each list, so that costs stay within the budget and errors are least.

    After each list, keeps the sums of cost and error that no other sum beats in both.
    """
    cost, error = np.zeros(1, np.int64), np.zeros(1)
    choices = []
    for more_cost, more_error in zip(costs, errors, strict=True):
        all_costs = (cost[:, None] + more_cost).ravel()
        all_errors = (error[:, None] + more_error).ravel()
        order = np.lexsort((all_errors, all_costs))
        best_before = np.minimum.accumulate(np.append(np.inf, all_errors[order][:-1]))
        keep = order[(all_errors[order] < best_before) & (all_costs[order] <= budget)]
        choices.append(np.divmod(keep, len(more_cost)))
        cost, error = all_costs[keep], all_errors[keep]
    # The last sum is the most expensive one within the budget, and has the smallest error.
    chosen: list[int] = []
    at = len(cost) - 1
    for before, option in reversed(choices):
        chosen.append(int(option[at]))
        at = int(before[at])
    return chosen[::-1]
