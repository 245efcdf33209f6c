"""Reads the weights of layers by their names in the plan, and computes them from their definition."""

import numpy as np

from softshare_jax.sharing import Group, Plan


def layer_weights(plan: Plan, params: dict) -> dict[str, np.ndarray]:
    """Returns the dense weights of each group, read only by the names in the plan."""
    weights = {}
    for group in plan.groups:
        rows = []
        for member in group.members:
            node = params
            for key in member.path.split("/"):
                node = node[key]
            row = np.asarray(node if member.index is None else node[member.index])
            if cut := member.slice:
                row = np.take(row, range(cut.start, cut.stop), axis=cut.axis)
            rows.append(row)
        weights[group.name] = np.stack(rows)
    return weights


def columns(group: Group, array) -> np.ndarray:
    """Returns weights or coefficients with an axis for the channels, ``[n, q, C]`` in float64."""
    channels = group.shape[-1] if group.per_channel else 1
    return np.asarray(array, np.float64).reshape(len(array), -1, channels)


def mixtures(group: Group, variables: dict) -> np.ndarray:
    """Returns the combinations of templates by definition, ``[L, *shape]`` in float64."""
    alpha, templates = (columns(group, variables[c][group.name]) for c in ("coefficients", "templates"))
    return np.einsum("lkc,kqc->lqc", alpha, templates).reshape(-1, *group.shape)


def residuals(group: Group, variables: dict) -> np.ndarray:
    """Returns the residuals by definition, ``[L, *shape]`` in float64."""
    if not group.rank:
        return np.zeros((group.layers, *group.shape))
    left, right = (
        np.asarray(variables["residuals"][group.name][side], np.float64) for side in ("left", "right")
    )
    return (left @ right).reshape(-1, *group.shape)


def expected_weights(group: Group, variables: dict) -> np.ndarray:
    """Returns the weights of a group by definition, ``[L, *shape]`` in float64."""
    return mixtures(group, variables) + residuals(group, variables)


def chain_rule(group: Group, variables: dict, upstream: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the gradients of coefficients and templates by the chain rule, as columns.

    Args:
        group: the group.
        variables: soft-shared variables.
        upstream: gradient of the weights, ``[L, q, C]``.
    """
    alpha, templates = (columns(group, variables[c][group.name]) for c in ("coefficients", "templates"))
    return {
        "coefficients": np.einsum("lqc,kqc->lkc", upstream, templates),
        "templates": np.einsum("lkc,lqc->kqc", alpha, upstream),
    }


def cosines(layers: np.ndarray) -> np.ndarray:
    """Returns the absolute cosines of layers ``[L, q, C]``: a mean over channels, weighted by norms."""
    products = np.einsum("iqc,jqc->ijc", layers, layers)
    norms = np.sqrt(np.einsum("iic->ic", products))
    return np.abs(products).sum(-1) / (norms @ norms.T)
