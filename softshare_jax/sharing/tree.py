"""Named leaves of a parameter tree: look at them, take some out, put them back."""

from collections.abc import Collection, Mapping
from typing import Any

import jax
from flax import traverse_util

PyTree = Any


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """Returns the leaves of any pytree by path, such as ``'block_3/conv/kernel'``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def split(tree: Mapping, paths: Collection[str]) -> tuple[dict, dict[str, Any]]:
    """Takes leaves out of a nested mapping.

    Args:
        tree: nested mapping of leaves; it is not changed.
        paths: the leaves to take out, as ``named_leaves`` names them.

    Returns:
        ``(rest, taken)``: the tree without these leaves, where mappings that
        became empty are gone, and the leaves by path.
    """
    flat = traverse_util.flatten_dict(tree, sep="/")
    taken = {path: flat.pop(path) for path in paths}
    return traverse_util.unflatten_dict(flat, sep="/"), taken


def join(rest: Mapping, leaves: Mapping[str, Any]) -> dict:
    """Puts leaves back into a nested mapping: the inverse of ``split``."""
    flat = traverse_util.flatten_dict(rest, sep="/")
    return traverse_util.unflatten_dict({**flat, **leaves}, sep="/")
