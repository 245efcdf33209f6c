"""Leaves of a parameter tree by path: look at them, take some out, put them back."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
from flax.core import FrozenDict
from flax.core.meta import AxisMetadata

PyTree = Any
# The keys of a jax key path as text, from the root to a leaf. Text stands for keys of any kind: an index
# and a dictionary key that read alike never occur side by side in a tree that jax can flatten.
Path = tuple[str, ...]


def key_text(key: Any) -> str:
    """Returns one key of a jax key path as text, such as ``'conv'`` or ``'3'``."""
    return jax.tree_util.keystr((key,), simple=True)


def name(path: Path) -> str:
    """Returns a path as people read it, such as ``'block_3/conv/kernel'``."""
    return "/".join(path)


def is_box(node: Any) -> bool:
    """Whether a node is a leaf with metadata about its axes, as ``nn.with_partitioning`` makes them."""
    return isinstance(node, AxisMetadata)


def unbox(leaf: Any) -> Any:
    """Returns the array of a leaf that may be boxed; unlike Flax's, without a sharding constraint."""
    return jax.tree.leaves(leaf)[0] if is_box(leaf) else leaf


def boxed_leaves(tree: PyTree) -> dict[Path, Any]:
    """Returns the arrays of any pytree, or their shapes, by path; boxed ones in their box.

    In an NNX state a path ends in the field of the variable, as in ``('conv', 'kernel', 'value')``. What
    else a tree holds, such as the activation function of an Equinox module, is no parameter.

    Raises:
        ValueError: the paths of two leaves read alike.
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
    """Returns the arrays of any pytree, or their shapes, by path, out of their boxes."""
    return {path: unbox(leaf) for path, leaf in boxed_leaves(tree).items() if jax.tree.leaves(leaf)}


def named_arrays(tree: PyTree) -> dict[str, Any]:
    """Returns the arrays of any pytree by their path as people read it."""
    return {name(path): array for path, array in leaves(tree).items()}


def split(tree: PyTree, paths: Collection[Path]) -> tuple[PyTree, dict[Path, Any]]:
    """Takes leaves out of a tree.

    Args:
        tree: any pytree; it is not changed.
        paths: the leaves to take out, as ``leaves`` has them.

    Returns:
        ``(rest, taken)``: the tree without these leaves, and the leaves by path. Dictionaries with
        text as keys forget the keys, and those below them that become empty are gone. Any other node, such
        as a list, an NNX state or an Equinox module, keeps its structure with ``None`` in their
        places, and a box stays, empty.
    """
    all_leaves = leaves(tree)
    return _without(tree, set(paths)), {path: all_leaves[path] for path in paths}


def join(rest: PyTree, taken: Mapping[Path, Any]) -> PyTree:
    """Puts leaves back into a tree: the inverse of ``split``.

    Raises:
        ValueError: the tree has no place for a leaf.
    """
    if not taken:
        return rest
    if () in taken:
        return rest.replace_boxed(taken[()]) if is_box(rest) else taken[()]
    below = _by_first_key(taken)
    if isinstance(rest, FrozenDict):
        return FrozenDict(join(rest.unfreeze(), taken))
    if _forgets(rest):
        return {**rest, **{key: join(rest.get(key, {}), inner) for key, inner in below.items()}}
    return _map_children(rest, join, below)


def _without(tree: PyTree, paths: Collection[Path]) -> PyTree:
    if not paths:
        return tree
    if () in paths:
        return tree.replace_boxed(None) if is_box(tree) else None
    below = _by_first_key(dict.fromkeys(paths))
    if isinstance(tree, FrozenDict):
        return FrozenDict(_without(tree.unfreeze(), paths))
    if _forgets(tree):
        kept = {key: _without(child, below.get(key, {})) for key, child in tree.items()}
        return {key: child for key, child in kept.items() if key not in below or _remains(child)}
    return _map_children(tree, _without, below)


def _forgets(node: Any) -> bool:
    """Whether a node can be rebuilt from paths alone, so that it need not keep places free."""
    return type(node) is dict and all(isinstance(key, str) for key in node)


def _remains(child: Any) -> bool:
    """Whether something is left of a child from which leaves were taken."""
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
    """Groups what is given by path by the first key; the paths within a group go on from there."""
    groups: dict[str, dict[Path, Any]] = {}
    for (first, *others), value in paths.items():
        groups.setdefault(first, {})[tuple(others)] = value
    return groups
