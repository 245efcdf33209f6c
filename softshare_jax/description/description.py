"""Describes a named network: parameters, groups and FLOPs."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from softshare_jax import sharing
from softshare_jax.models import zoo
from softshare_jax.sharing.parameters import Parameters, count
from softshare_jax.training import randomness


class _Traced(NamedTuple):
    """A named network with the shapes of its dense and its shared variables."""

    network: nn.Module
    plan: sharing.Plan
    image: jax.ShapeDtypeStruct
    dense: dict[str, Any]
    variables: dict[str, Any]


def parameters(name: str, num_classes: int = 10) -> Parameters:
    """Counts the parameters of a network of the zoo by tracing it.

    Args:
        name: name of the network, such as ``swrn-28-10-2``.
        num_classes: number of classes, for a classifier.

    Raises:
        UserError: the network is unknown.
    """
    return count(_trace(name, num_classes).variables)


def describe(name: str, num_classes: int = 10) -> dict[str, Any]:
    """Describes a network of the zoo by tracing it.

    Args:
        name: name of the network, such as ``swrn-28-10-2``.
        num_classes: number of classes, for a classifier.

    Returns:
        JSON values: ``name``, ``parameters``, ``shared_parameters`` (templates and coefficients),
        ``private_parameters``, ``unshared_parameters`` (of the unshared network), ``flops_per_example``
        (of one prediction; a multiplication and an addition count as two) and ``groups``: name, layers,
        templates, shape.

    Raises:
        UserError: the network is unknown.
    """
    traced = _trace(name, num_classes)
    model = sharing.SoftShare(traced.network, traced.plan)
    counted = count(traced.variables)
    costs = jax.jit(model.apply).lower(traced.variables, traced.image).cost_analysis() or {}
    return {
        "name": name,
        "parameters": counted.total,
        "shared_parameters": counted.shared,
        "private_parameters": counted.private,
        "unshared_parameters": count(traced.dense).total,
        "flops_per_example": int(costs["flops"]),
        "input_shape": list(traced.image.shape[1:]),
        "groups": [
            {"name": g.name, "layers": g.layers, "templates": g.templates, "shape": list(g.shape)}
            for g in traced.plan.groups
        ],
    }


# Cached: tables name a network several times, and tracing may take seconds.
@functools.cache
def _trace(name: str, num_classes: int) -> _Traced:
    named = zoo.named(name)
    network = named.build(zoo.Options(num_classes=num_classes))
    image = jax.ShapeDtypeStruct((1, *named.input_shape), jnp.float32)
    rng = jax.eval_shape(lambda: randomness.key(0))
    dense = jax.eval_shape(network.init, rng, image)
    plan = named.rule(dense["params"])
    shared = jax.eval_shape(functools.partial(sharing.initialize, plan), dense["params"], rng)
    return _Traced(network, plan, image, dense, {**dense, **shared})


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
        lines.insert(2, f"    unshared network  {unshared:>14,}   (with sharing: {share:.1%} of it)")
    for group in description["groups"]:
        shape = "x".join(map(str, group["shape"]))
        lines.append(
            f"  group {group['name']}: {group['layers']} layers of {shape}, {group['templates']} templates"
        )
    return "\n".join(lines if description["groups"] else [*lines, "  no groups: nothing is shared"])
