"""Checks that all numbers of a tree of arrays are finite."""

from typing import Any

import jax
import jax.numpy as jnp

from softshare_jax.training.checksum import named_leaves


def first_not_finite(tree: Any) -> str | None:
    """Returns the name of the first array that holds a NaN or an infinity, or ``None``.

    The devices that hold an array reduce it, so all processes of a job get the same answer.
    """
    leaves = [(name, leaf) for name, leaf in named_leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    finite = jax.device_get(_are_finite([leaf for _, leaf in leaves]))
    return next((name for (name, _), is_finite in zip(leaves, finite, strict=True) if not is_finite), None)


@jax.jit
def _are_finite(leaves: list[jax.Array]) -> list[jax.Array]:
    return [jnp.all(jnp.isfinite(leaf)) for leaf in leaves]
