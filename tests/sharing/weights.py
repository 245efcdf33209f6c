"""Reads the weights of layers by their names in the plan."""

import numpy as np

from softshare_jax.sharing import Plan


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
