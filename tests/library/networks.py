"""Models of users: linen with batch-norm, NNX, Equinox, and a dictionary without a library."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from softshare_jax import sharing
from tests.sharing.models import ROW, TOKENS, NnxTransformer

KEY = jax.random.key(0)


class User(NamedTuple):
    """A soft-shared network of a user.

    Attributes:
        plan, variables: its weights.
        apply: ``apply(params, *inputs)``.
        inputs: examples.
        groups: name of each group and its number of layers.
    """

    plan: sharing.Plan
    variables: Mapping[str, Any]
    apply: Callable[..., Any]
    inputs: tuple[jax.Array, ...]

    @property
    def outputs(self) -> Any:
        """Returns the outputs, computed without the library."""
        dense = sharing.to_dense(self.plan, self.variables)
        others = {name: dense[name] for name in ("batch_stats",) if name in dense}
        return self.apply(dense["params"], *self.inputs, **others)


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        for i in range(4):
            x = x + nn.Dense(6, name=f"layer_{i}")(nn.relu(x))
            x = nn.BatchNorm(use_running_average=not train, name=f"norm_{i}")(x)
        return nn.Dense(3, name="head")(x)


def linen() -> User:
    model = sharing.SoftShare(Normed(), sharing.by_regex({"body": r"layer_\d/kernel"}, templates=2))
    variables = model.init(KEY, ROW)
    _, updates = model.apply(variables, 5 * ROW, train=True, mutable=["batch_stats"])

    def apply(params, x, batch_stats):
        return Normed().apply({"params": params, "batch_stats": batch_stats}, x)

    return User(model.plan(ROW), {**variables, **updates}, apply, (ROW,))


def of_nnx() -> User:
    definition, params, others = nnx.split(NnxTransformer(3, nnx.Rngs(0)), nnx.Param, ...)
    plan = sharing.by_regex({"up": r"up/\d+/kernel/value", "down": r"down/\d+/kernel/value"}, 2)(params)

    def apply(params, tokens):
        return nnx.merge(definition, params, others, copy=True)(tokens)

    return User(plan, sharing.initialize(plan, params, KEY), apply, (TOKENS,))


def of_equinox() -> User:
    mlp = eqx.nn.MLP(6, 3, 8, 4, key=KEY)
    plan = sharing.by_shape(templates=2)(mlp)
    return User(plan, sharing.initialize(plan, mlp, KEY), lambda mlp, x: jax.vmap(mlp)(x), (ROW,))


def dictionary() -> User:
    """Returns a network with two inputs and two outputs, whose layers are rows of a stack."""
    params = {"stack/w": jax.random.normal(KEY, (3, 6, 6)), "out": jnp.ones((6, 2))}
    plan = sharing.by_regex({"w": "stack/w"}, 2, stacked="stack/w")(params)

    def apply(params, x, scale):
        for layer in range(3):
            x = jnp.tanh(x @ params["stack/w"][layer]) * scale[:, None]
        return {"state": x, "sum": (x @ params["out"]).sum(1)}

    scale = jnp.linspace(0.5, 1, len(ROW))
    return User(plan, sharing.initialize(plan, params, KEY), apply, (ROW, scale))


USERS = {"linen": linen, "nnx": of_nnx, "equinox": of_equinox, "dictionary": dictionary}


def drawn_together(user: User, part: float) -> dict[str, Any]:
    """Returns variables whose layers are nearer to each other: equal for ``part`` 1."""
    coefficients = {
        name: (1 - part) * np.asarray(alpha) + part * np.asarray(alpha).mean(0, keepdims=True)
        for name, alpha in user.variables["coefficients"].items()
    }
    return {**user.variables, "coefficients": coefficients}
