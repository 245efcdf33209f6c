"""A soft-shared network as a function of its inputs."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from softshare_jax import sharing

# ``apply(params, *inputs)``: outputs from dense parameters, as ``materialize`` returns them.
Apply = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Network:
    """Soft-shared variables and what computes with them.

    Attributes:
        plan: which layers share.
        variables: ``params``, ``templates``, ``coefficients`` and any other collection.
        apply: ``apply(params, *inputs)`` returns the outputs, given the dense parameters. If it has a
            parameter with the name of another collection, such as ``batch_stats``, it gets that collection by
            keyword. Inputs are arrays, and outputs any tree of arrays. It is traced by ``jax.jit``.
    """

    plan: sharing.Plan
    variables: Mapping[str, Any]
    apply: Apply

    @functools.cached_property
    def dense(self) -> dict[str, Any]:
        """The variables of the unshared network."""
        return sharing.to_dense(self.plan, self.variables)

    def outputs(self, variables: Mapping[str, Any], *inputs: Any) -> Any:
        """Returns the outputs for other values of the soft-shared variables; pure."""
        return self._apply(sharing.to_dense(self.plan, variables), *inputs)

    def __call__(self, *inputs: Any) -> Any:
        """Returns the outputs as a tree of numpy arrays. Weights are computed once, not at each call."""
        arrays, _ = self._split_dense
        return jax.device_get(self._compiled(arrays, *inputs))

    def _apply(self, dense: Mapping[str, Any], *inputs: Any) -> Any:
        named = inspect.signature(self.apply).parameters
        others = {name: value for name, value in dense.items() if name in named and name != "params"}
        return self.apply(dense["params"], *inputs, **others)

    @functools.cached_property
    def _split_dense(self) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
        return split_arrays(self.dense)

    @functools.cached_property
    def _compiled(self) -> Callable[..., Any]:
        _, join = self._split_dense
        return jax.jit(lambda arrays, *inputs: self._apply(join(arrays), *inputs))


def split_arrays(tree: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    """Splits a tree into its arrays and a function that puts such arrays into it.

    Other leaves, such as the activation function of an Equinox module, stay in the tree.
    """
    leaves, structure = jax.tree.flatten(tree)
    places = [place for place, leaf in enumerate(leaves) if is_array(leaf)]

    def join(arrays: Sequence[Any]) -> Any:
        filled = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        return jax.tree.unflatten(structure, filled)

    return [leaves[place] for place in places], join


def is_array(leaf: Any) -> bool:
    """Returns whether a leaf of a tree is an array."""
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def is_random_key(leaf: Any) -> bool:
    """Returns whether an array holds keys of ``jax.random``, which are not numbers."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
