"""Why the recurrence penalty smooths its gradient: how often it makes all layers equal.

    python benchmarks/research/recurrence_gradient.py

Optimizes the penalty alone for ten layers of ten coefficients, with 2,000 steps of Adam at 0.003 from 30
random orthogonal starts: with the exact gradient of |cos|, and with that of ``sharing.recurrence_penalty``.
"""

import jax
import jax.numpy as jnp
import optax

from softshare_jax import sharing
from softshare_jax.training import randomness

LAYERS, STARTS, STEPS = 10, 30, 2000
PLAN = sharing.Plan((sharing.Group("g", tuple(sharing.Member(str(i)) for i in range(LAYERS)), LAYERS, (1,)),))


def exact(variables: dict) -> jax.Array:
    """Returns the sum of the LSM, with its exact gradient."""
    return jnp.sum(sharing.similarity(PLAN, variables, "coefficients")["g"])


def smoothed(variables: dict) -> jax.Array:
    """Returns the same sum, with the smoothed gradient of training."""
    return sharing.recurrence_penalty(PLAN, variables)


def least_similarity(penalty, key: jax.Array) -> jax.Array:
    """Returns the least entry of the final LSM for one start."""
    optimizer = optax.adam(0.003)
    templates = {"g": jnp.ones((LAYERS, 1))}

    def objective(alpha):
        return -0.01 * penalty({"templates": templates, "coefficients": {"g": alpha}})

    def step(carry, _):
        alpha, state = carry
        updates, state = optimizer.update(jax.grad(objective)(alpha), state)
        return (optax.apply_updates(alpha, updates), state), None

    alpha = sharing.orthogonal(key, LAYERS, LAYERS)
    (alpha, _), _ = jax.lax.scan(step, (alpha, optimizer.init(alpha)), length=STEPS)
    final = {"templates": templates, "coefficients": {"g": alpha}}
    return jnp.min(sharing.similarity(PLAN, final, "coefficients")["g"])


def main() -> None:
    """Prints how many starts end with all layers equal."""
    keys = jax.random.split(randomness.key(0), STARTS)
    for name, penalty in (("exact", exact), ("smoothed", smoothed)):
        least = jax.jit(jax.vmap(lambda key, penalty=penalty: least_similarity(penalty, key)))(keys)
        print(f"{name:8} gradient: {int(jnp.sum(least > 0.99))} of {STARTS} starts end with all layers equal")


if __name__ == "__main__":
    main()
