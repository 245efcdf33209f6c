"""How many templates each group gets under one budget of parameters."""

import math
from typing import Any

import jax
import numpy as np

from softshare_jax.sharing.dense import spectra, truncation_errors
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.rules import Rule
from softshare_jax.sharing.tree import PyTree, leaves

_Numbers = np.ndarray[Any, Any]


def by_budget(rule: Rule, parameters: int) -> Rule:
    """Chooses k for every group, so that given weights lose least within a budget of parameters.

    Minimizes the squared error of the weights, summed over all groups, over all choices of 1 to L
    templates per group that keep the network within the budget. This knapsack is solved exactly.

    >>> import jax.numpy as jnp
    >>> from softshare_jax.sharing import by_shape
    >>> same, different = jnp.ones((4, 4)), jnp.eye(4)
    >>> params = {"a": [{"w": same}, {"w": same}], "b": [{"w": different[:3]}, {"w": 1 - different[:3]}]}
    >>> {group.name: group.templates for group in by_budget(by_shape(), 50)(params).groups}
    {'4x4': 1, '3x4': 2}

    Args:
        rule: rule or plan that makes the groups; its numbers of templates are not used.
        parameters: largest number of parameters of the network: templates, coefficients and private.

    Returns:
        A rule. Unlike other rules it needs the weights themselves; their shapes are not enough.

    Raises:
        PlanError: the rule raises it if one template per group is already too many, if it is
            given shapes, or if a layer is not finite.
    """

    def budgeted(params: PyTree) -> Plan:
        plan = rule(params)
        arrays = leaves(params).values()
        if any(isinstance(array, jax.ShapeDtypeStruct) for array in arrays):
            raise PlanError("a budget needs the weights themselves; their shapes are not enough")
        private = sum(math.prod(array.shape) for array in arrays)
        private -= sum(group.layers * math.prod(group.shape) for group in plan.groups)
        errors, costs = [], []
        values = spectra(plan, params)
        for group in plan.groups:
            errors.append(truncation_errors(values[group.name]))
            one = group.layers * group.channels + math.prod(group.shape)
            costs.append(np.arange(1, group.layers + 1) * one)
        least = private + sum(int(cost[0]) for cost in costs)
        if least > parameters:
            raise PlanError(f"a budget of {parameters} is too small: one template a group takes {least}")
        chosen = _cheapest_error(costs, errors, parameters - private)
        return plan.with_templates({g.name: k + 1 for g, k in zip(plan.groups, chosen, strict=True)})

    return budgeted


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
