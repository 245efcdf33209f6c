"""Named leaves of a parameter tree: look at them, take some out, put them back."""

from collections.abc import Collection, Mapping
from typing import Any

import jax
from flax import traverse_util
from flax.core import FrozenDict

PyTree = Any


def named_arrays(tree: PyTree) -> dict[str, Any]:
    """Returns the arrays of any pytree, or their shapes, by path, such as ``'block_3/conv/kernel'``.

    In an NNX state a path ends in the field of the variable, as in ``'block_3/conv/kernel/value'``.
    What else a tree holds, as an Equinox module its activation function, is no parameter.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_name(path): leaf for path, leaf in leaves if hasattr(leaf, "shape")}


def split(tree: PyTree, paths: Collection[str]) -> tuple[PyTree, dict[str, Any]]:
    """Takes leaves out of a tree.

    Args:
        tree: any pytree; it is not changed.
        paths: the leaves to take out, as ``named_arrays`` names them.

    Returns:
        ``(rest, taken)``: the tree without these leaves, and the leaves by path. Nested
        dictionaries forget the keys, and mappings that became empty are gone; any other tree, such
        as an NNX state or an Equinox module, keeps its structure with ``None`` in their places.
    """
    if _is_nested_dict(tree):
        flat = traverse_util.flatten_dict(tree, sep="/")
        taken = {path: flat.pop(path) for path in paths}
        return traverse_util.unflatten_dict(flat, sep="/"), taken
    arrays = named_arrays(tree)
    rest = jax.tree_util.tree_map_with_path(lambda path, x: None if _name(path) in paths else x, tree)
    return rest, {path: arrays[path] for path in paths}


def join(rest: PyTree, leaves: Mapping[str, Any]) -> PyTree:
    """Puts leaves back into a tree: the inverse of ``split``."""
    if _is_nested_dict(rest):
        flat = traverse_util.flatten_dict(rest, sep="/")
        return traverse_util.unflatten_dict({**flat, **leaves}, sep="/")
    return jax.tree_util.tree_map_with_path(
        lambda path, x: leaves.get(_name(path), x), rest, is_leaf=lambda x: x is None
    )


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _is_nested_dict(tree: PyTree) -> bool:
    """Whether dictionaries of dictionaries hold all leaves, as in linen."""
    if not isinstance(tree, (dict, FrozenDict)):
        return False
    paths, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda x: x is None)
    return all(isinstance(key, jax.tree_util.DictKey) for path, _ in paths for key in path)
