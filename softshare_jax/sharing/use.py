"""How a model uses its parameters: their order, and the axes of loops, read from its traced program."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from softshare_jax.sharing import tree
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.tree import Path, PyTree

# Primitives that keep every number of an array at its place; the dtype may change.
SAME = ("convert_element_type", "copy", "copy_p", "optimization_barrier", "sharding_constraint", "pvary")


class Use(NamedTuple):
    """What a traced program does with parameters.

    Attributes:
        order: leaves in the order in which they first meet data; leaves that never do come last.
        scanned: for each leaf that a loop runs over, the axis of the loop.
    """

    order: tuple[Path, ...]
    scanned: dict[Path, int]


class _Origin(NamedTuple):
    """What a value of the program is computed from.

    Attributes:
        leaves: parameters, if the value is computed from these alone; ``None`` for data.
        view: a leaf and the order of its axes, if the value is that leaf with permuted axes.
    """

    leaves: tuple[Path, ...] | None
    view: tuple[Path, tuple[int, ...]] | None = None


DATA = _Origin(None)
CONSTANT = _Origin(())


def order_of_use(apply: Callable[[PyTree], Any], params: PyTree) -> tuple[str, ...]:
    """Returns the paths of a model's parameters in the order in which the model uses them.

    For the ``order`` of a rule. The model is traced, not run. A parameter is used when it first meets
    data: casting, reshaping or combining parameters does not count.

    >>> import jax.numpy as jnp
    >>> params = {"decoder": jnp.ones((2, 2)), "encoder": jnp.ones((2, 2))}
    >>> order_of_use(lambda p: jnp.ones((1, 2)) @ p["encoder"] @ p["decoder"], params)
    ('encoder', 'decoder')

    Args:
        apply: maps parameters to outputs, for fixed inputs; for a linen model
            ``lambda params: model.apply({"params": params}, x)``.
        params: parameters of the model, or their shapes.
    """
    return tuple(map(tree.name, trace(apply, params).order))


def trace(apply: Callable[[PyTree], Any], params: PyTree) -> Use:
    """Traces a model and returns how it uses its parameters. Takes the arguments of ``order_of_use``."""
    arrays = tree.leaves(params)
    rest, _ = tree.split(params, list(arrays))

    def flat(values: Sequence[jax.Array]) -> list[jax.Array]:
        outputs = apply(tree.join(rest, dict(zip(arrays, values, strict=True))))
        return [leaf for leaf in jax.tree.leaves(outputs) if isinstance(leaf, (jax.Array, jax.core.Tracer))]

    program = jax.make_jaxpr(flat)(list(arrays.values()))
    walk = _Walk()
    inputs = [_Origin((path,), (path, tuple(range(len(leaf.shape))))) for path, leaf in arrays.items()]
    for output in walk.run(program.jaxpr, inputs):
        walk.use(output.leaves or ())
    walk.use(tuple(arrays))
    return Use(tuple(walk.order), walk.scanned)


def check_stacks(plan: Plan, use: Use) -> None:
    """Rejects a plan whose layers are rows along another axis than the model's loop.

    Raises:
        PlanError: the model loops over a stacked leaf along another axis than the first.
    """
    for path in dict.fromkeys(m.keys for group in plan.groups for m in group.members if m.index is not None):
        if use.scanned.get(path, 0) != 0:
            raise PlanError(
                f"{tree.name(path)} stacks its layers along axis {use.scanned[path]}, "
                "and only rows of axis 0 can share: build the loop with variable_axes={'params': 0}"
            )


class _Walk:
    """Walks through a program in the order in which it runs."""

    def __init__(self) -> None:
        self.order: dict[Path, None] = {}
        self.scanned: dict[Path, int] = {}

    def use(self, leaves: Sequence[Path]) -> None:
        """Records leaves that are used for the first time."""
        self.order.update(dict.fromkeys(leaf for leaf in leaves if leaf not in self.order))

    def run(self, program: Jaxpr, inputs: Sequence[_Origin]) -> list[_Origin]:
        """Walks through a program and returns the origins of its outputs."""
        known: dict[Any, _Origin] = dict(zip(program.invars, inputs, strict=True))

        def origin(value: Any) -> _Origin:
            if isinstance(value, Literal):
                return CONSTANT if jnp.ndim(value.val) == 0 else DATA
            return known.get(value, DATA)

        for step in program.eqns:
            found = self._step(step, [origin(value) for value in step.invars])
            known.update(zip(step.outvars, found, strict=True))
        return [origin(value) for value in program.outvars]

    def _step(self, step: Any, inputs: list[_Origin]) -> list[_Origin]:
        if step.primitive.name == "scan":
            (body,) = _programs(step.params)
            for origin, whole, part in zip(inputs, step.invars, body.invars, strict=True):
                # Inside a loop, an array that it runs over has one axis less.
                if origin.view and _rank(part) < _rank(whole):
                    path, axes = origin.view
                    self.scanned.setdefault(path, axes[0])
        if step.primitive.name == "while":
            first = step.params["cond_nconsts"]
            second = first + step.params["body_nconsts"]
            self.run(step.params["cond_jaxpr"].jaxpr, inputs[:first] + inputs[second:])
            return self.run(step.params["body_jaxpr"].jaxpr, inputs[first:])
        outputs: list[_Origin] | None = None
        for program in _programs(step.params):
            if len(program.invars) <= len(inputs):
                # The first inputs are for the step itself, such as the index of a branch.
                found = self.run(program, inputs[len(inputs) - len(program.invars) :])
                outputs = found if len(found) == len(step.outvars) else outputs
        if outputs is not None:
            return outputs
        if any(origin.leaves is None for origin in inputs):
            for origin in inputs:
                self.use(origin.leaves or ())
            return [DATA] * len(step.outvars)
        leaves = tuple(dict.fromkeys(path for origin in inputs for path in origin.leaves or ()))
        # An array that is not computed from parameters is data, even if it is constant.
        made = [
            _Origin(leaves) if leaves or not getattr(value.aval, "shape", ()) else DATA
            for value in step.outvars
        ]
        if view := _view(step, inputs):
            made[0] = made[0]._replace(view=view)
        return made


def _view(step: Any, inputs: list[_Origin]) -> tuple[Path, tuple[int, ...]] | None:
    """Returns the leaf that the first output of a step is, and the order of its axes."""
    if not inputs or inputs[0].view is None:
        return None
    path, axes = inputs[0].view
    if step.primitive.name in SAME:
        return path, axes
    if step.primitive.name == "transpose":
        return path, tuple(axes[axis] for axis in step.params["permutation"])
    return None


def _rank(value: Any) -> int:
    """Returns the number of axes of a value of a program."""
    return len(value.aval.shape)


def _programs(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """Yields the programs that a step runs, such as the body of a loop or the branches of a condition."""
    for value in params.values():
        for part in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(part, ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, Jaxpr):
                yield part
