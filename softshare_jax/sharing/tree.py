"""Leaves of a parameter tree by path: read them, take some out, put them back."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
from flax.core import FrozenDict, freeze
from flax.core.meta import AxisMetadata

PyTree = Any
# Keys of a jax key path as text, from the root to a leaf. Text is enough for keys of any kind: an index and
# a dictionary key with the same text are never children of one node of a tree that jax can flatten.
Path = tuple[str, ...]


def key_text(key: Any) -> str:
    """Returns one key of a jax key path as text, such as ``'conv'`` or ``'3'``."""
    return jax.tree_util.keystr((key,), simple=True)


def name(path: Path) -> str:
    """Returns a path as people read it, such as ``'block_3/conv/kernel'``."""
    return "/".join(path)


def is_box(node: Any) -> bool:
    """Returns whether a node is a leaf with axis metadata, as ``nn.with_partitioning`` makes it."""
    return isinstance(node, AxisMetadata)


def unbox(leaf: Any) -> Any:
    """Returns the array of a leaf that may be boxed, without the sharding constraint that Flax adds."""
    return jax.tree.leaves(leaf)[0] if is_box(leaf) else leaf


def boxed_leaves(tree: PyTree) -> dict[Path, Any]:
    """Returns the arrays of any pytree, or their shapes, by path; boxed arrays in their box.

    In an NNX state a path ends with the field of the variable, as in ``('conv', 'kernel', 'value')``.
    Leaves that are not arrays, such as the activation function of an Equinox module, are not included.

    Raises:
        ValueError: two leaves have the same path.
    """
    found: dict[Path, Any] = {}
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_box)[0]:
        path = tuple(map(key_text, keys))
        if path in found:
            raise ValueError(f"two leaves of the tree have the path {name(path)}")
        if hasattr(leaf, "shape") or is_box(leaf):
            found[path] = leaf
    return found


def leaves(tree: PyTree) -> dict[Path, Any]:
    """Returns the arrays of any pytree, or their shapes, by path, without their boxes."""
    return {path: unbox(leaf) for path, leaf in boxed_leaves(tree).items() if jax.tree.leaves(leaf)}


def named_arrays(tree: PyTree) -> dict[str, Any]:
    """Returns the arrays of any pytree by path, as people read it."""
    return {name(path): array for path, array in leaves(tree).items()}


def split(tree: PyTree, paths: Collection[Path]) -> tuple[PyTree, dict[Path, Any]]:
    """Takes leaves out of a tree.

    Args:
        tree: any pytree; it does not change.
        paths: the leaves to take out, as in ``leaves``.

    Returns:
        ``(rest, taken)``: the tree without these leaves, and the leaves by path. A dictionary with
        text as keys loses the keys, and loses children that become empty. Any other node, such
        as a list, an NNX state or an Equinox module, keeps its structure with ``None`` in place of the
        leaves. A box stays, and is empty.
    """
    all_leaves = leaves(tree)
    return _without(tree, dict.fromkeys(paths)), {path: all_leaves[path] for path in paths}


def join(rest: PyTree, taken: Mapping[Path, Any]) -> PyTree:
    """Puts leaves into a tree: the inverse of ``split``. A leaf that is there is replaced.

    Raises:
        ValueError: the tree has no place for a leaf.
    """
    if not taken:
        return rest
    if () in taken:
        return rest.replace_boxed(taken[()]) if is_box(rest) else taken[()]
    below = _by_first_key(taken)
    if isinstance(rest, FrozenDict):
        return freeze(join(rest.unfreeze(), taken))
    if _forgets(rest):
        return {**rest, **{key: join(rest.get(key, {}), inner) for key, inner in below.items()}}
    return _map_children(rest, join, below)


def _without(tree: PyTree, paths: Mapping[Path, Any]) -> PyTree:
    if not paths:
        return tree
    if () in paths:
        return tree.replace_boxed(None) if is_box(tree) else None
    below = _by_first_key(paths)
    if isinstance(tree, FrozenDict):
        return freeze(_without(tree.unfreeze(), paths))
    if _forgets(tree):
        kept = {key: _without(child, below.get(key, {})) for key, child in tree.items()}
        return {key: child for key, child in kept.items() if key not in below or _remains(child)}
    return _map_children(tree, _without, below)


def _forgets(node: Any) -> bool:
    """Returns whether a node can be rebuilt from paths alone, so that it need not keep empty places."""
    return type(node) is dict and all(isinstance(key, str) for key in node)


def _remains(child: Any) -> bool:
    """Returns whether anything is left of a child from which leaves were taken."""
    return child is not None and not (type(child) is dict and not child)


def _map_children(
    node: Any, function: Callable[[Any, dict[Path, Any]], Any], below: dict[str, dict[Path, Any]]
) -> Any:
    """Returns a node with each child replaced by ``function(child, below[key])``."""
    children, structure = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
    keys = [key_text(*path) for path, _ in children]
    if missing := below.keys() - set(keys):
        raise ValueError(f"the tree has no place for {min(missing)}: it is {type(node).__name__} of {keys}")
    replaced = [function(child, below.get(key, {})) for key, (_, child) in zip(keys, children, strict=True)]
    return jax.tree.unflatten(structure, replaced)


def _by_first_key(paths: Mapping[Path, Any]) -> dict[str, dict[Path, Any]]:
    """Groups values by the first key of their paths; the paths in a group continue after that key."""
    groups: dict[str, dict[Path, Any]] = {}
    for (first, *others), value in paths.items():
        groups.setdefault(first, {})[tuple(others)] = value
    return groups
