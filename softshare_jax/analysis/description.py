"""What a named network is: parameters, groups and FLOPs."""

from typing import Any

import jax
import jax.numpy as jnp

from softshare_jax.analysis.parameters import count
from softshare_jax.models import zoo
from softshare_jax.sharing import SoftShare


def describe(name: str, num_classes: int = 10) -> dict[str, Any]:
    """Describes a network of the zoo; nothing is computed, only traced.

    Args:
        name: such as ``swrn-28-10-2``.
        num_classes: of a classifier.

    Returns:
        Plain values: ``name``, ``parameters``, ``shared_parameters`` (templates and coefficients),
        ``private_parameters``, ``unshared_parameters`` (of the same network without sharing),
        ``flops_per_example`` (of one prediction, counting a multiplication and an addition as two) and
        ``groups``: name, layers, templates, shape.

    Raises:
        UserError: there is no such network.
    """
    network = zoo.named(name)
    plain = network.build(zoo.Options(num_classes=num_classes))
    image = jax.ShapeDtypeStruct((1, *network.input_shape), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    shapes = jax.eval_shape(plain.init, key, image)
    plan = network.rule(shapes["params"])
    model = SoftShare(plain, plan)
    variables = jax.eval_shape(model.init, key, image)
    parameters = count(variables)
    costs = jax.jit(model.apply).lower(variables, image).cost_analysis() or {}
    return {
        "name": name,
        "parameters": parameters.total,
        "shared_parameters": parameters.shared,
        "private_parameters": parameters.private,
        "unshared_parameters": count(shapes).total,
        "flops_per_example": int(costs["flops"]),
        "input_shape": list(network.input_shape),
        "groups": [
            {"name": g.name, "layers": g.layers, "templates": g.templates, "shape": list(g.shape)}
            for g in plan.groups
        ],
    }


def as_table(description: dict[str, Any]) -> str:
    """Returns a description as aligned lines."""
    lines = [
        f"{description['name']}",
        f"  parameters          {description['parameters']:>14,}",
        f"    shared            {description['shared_parameters']:>14,}",
        f"    private           {description['private_parameters']:>14,}",
        f"  FLOPs per example   {description['flops_per_example']:>14,}"
        f"   (input {'x'.join(map(str, description['input_shape']))})",
    ]
    if description["groups"]:
        unshared = description["unshared_parameters"]
        share = description["parameters"] / unshared
        lines.insert(2, f"    without sharing   {unshared:>14,}   (shared it has {share:.1%} of them)")
    for group in description["groups"]:
        shape = "x".join(map(str, group["shape"]))
        lines.append(
            f"  group {group['name']}: {group['layers']} layers of {shape}, {group['templates']} templates"
        )
    return "\n".join(lines if description["groups"] else [*lines, "  no groups: nothing is shared"])
