"""A checksum of array trees, computed on the device."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp


def checksum(tree: Any) -> str:
    """Returns 16 hex digits over paths, shapes, dtypes and every bit of a tree of arrays.

    The devices reduce each array to one number by integer sums. These are exact in any order, so the
    checksum does not depend on the sharding. A change within one 4-byte word of an array always changes the
    checksum; any other change does so with probability 1 - 2^-32.
    """
    leaves = named_leaves(tree)
    sums = jax.device_get(_sums([leaf for _, leaf in leaves]))
    digest = hashlib.sha256()
    for (path, leaf), number in zip(leaves, sums, strict=True):
        digest.update(f"{path} {leaf.shape} {leaf.dtype} {number}\n".encode())
    return digest.hexdigest()[:16]


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """Returns the leaves of a tree with their paths, such as ``'templates/stage_1'``, in the tree's order.

    The seals on disk depend on these names, so they must not change.
    """
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in paths]


@jax.jit
def _sums(leaves: list[jax.Array]) -> list[jax.Array]:
    return [_sum(leaf) for leaf in leaves]


@jax.jit  # so that leaves of one shape are traced once
def _sum(leaf: jax.Array) -> jax.Array:
    """Returns sum_i mix(word_i + i * odd) mod 2^32, where mix is a bijection."""
    leaf = leaf.astype(jnp.uint8) if leaf.dtype == jnp.bool_ else leaf
    leaf = jnp.stack([leaf.real, leaf.imag]) if jnp.iscomplexobj(leaf) else leaf
    # A number of 8 bytes becomes two words.
    unsigned = {1: jnp.uint8, 2: jnp.uint16}.get(leaf.dtype.itemsize, jnp.uint32)
    words = jax.lax.bitcast_convert_type(leaf, unsigned).astype(jnp.uint32).ravel()
    x = words + jnp.arange(words.size, dtype=jnp.uint32) * jnp.uint32(0x9E3779B1)
    for shift, odd in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> shift)) * jnp.uint32(odd)
    return jnp.sum(x ^ (x >> 16), dtype=jnp.uint32)
