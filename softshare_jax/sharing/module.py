"""SoftShare: any linen module with soft-shared weights."""

import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.sharing.dense import to_dense
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.initializers import Initializer, initialize, orthogonal
from softshare_jax.sharing.materialization import materialize
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.rules import Rule
from softshare_jax.sharing.use import check_stacks, trace
from softshare_jax.sharing.weights import Variables

# A method of the model: its name, or a function whose first argument is the model.
Method = Callable[..., Any] | str | None


class SoftShare(nn.Module):
    """Runs a model on weights that are materialized from templates.

    ``init``, ``apply`` and ``bind`` work as those of the model, with its methods, names, random streams and
    other collections. The model needs no changes.

    >>> import jax, jax.numpy as jnp
    >>> from flax import linen as nn
    >>> from softshare_jax import sharing
    >>> mlp = nn.Sequential([nn.Dense(8) for _ in range(4)])
    >>> rule = sharing.by_regex({"dense": r"layers_\\d/kernel"}, templates=2)
    >>> model = sharing.SoftShare(mlp, rule)
    >>> variables = model.init(jax.random.key(0), jnp.ones((1, 8)))
    >>> jax.tree.map(jnp.shape, {name: variables[name] for name in ("coefficients", "templates")})
    {'coefficients': {'dense': (4, 2)}, 'templates': {'dense': (2, 8, 8)}}
    >>> model.apply(variables, jnp.ones((1, 8))).shape
    (1, 8)

    Attributes:
        model: any linen module.
        rule: a rule, or a plan. A rule needs an abstract initialization of the model at each trace, a
            plan does not.
        coefficients: initializer of the coefficients.
    """

    model: nn.Module
    rule: Rule
    coefficients: Initializer = orthogonal

    def setup(self) -> None:
        """Shares the model's scope."""
        # One scope for both, so the wrapper adds no level to the parameter tree.
        nn.share_scope(self, self.model)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the model with its arguments, and returns its outputs."""
        return self._run(None, args, kwargs)

    @nn.nowrap
    def apply(self, variables: Variables, *args: Any, method: Method = None, **kwargs: Any) -> Any:
        """Applies the model, or one of its methods, as ``nn.Module.apply`` does."""
        return super().apply(variables, *args, method=_of_model(method), **kwargs)

    @nn.nowrap
    def init_with_output(self, rngs: Any, *args: Any, method: Method = None, **kwargs: Any) -> Any:
        """Initializes the variables with the model, or with one of its methods, as ``nn.Module`` does."""
        return super().init_with_output(rngs, *args, method=_of_model(method), **kwargs)

    @nn.nowrap
    def bind(self, variables: Variables, *args: Any, **kwargs: Any) -> nn.Module:  # type: ignore[override]
        """Returns the model itself, bound to materialized weights.

        Args:
            variables: soft-shared variables.
            *args, **kwargs: as ``nn.Module.bind`` takes them.

        Raises:
            PlanError: ``rule`` is not a plan. The plan of a rule depends on inputs, which are unknown here.
        """
        if not isinstance(self.rule, Plan):
            raise PlanError("bind needs SoftShare(model, plan): make the plan first, plan = rule(params)")
        return self.model.clone(parent=None).bind(to_dense(self.rule, variables), *args, **kwargs)

    @nn.nowrap
    def plan(self, *args: Any, method: Method = None, **kwargs: Any) -> Plan:
        """Returns the plan that the rule makes of the model for these inputs; no array is initialized.

        >>> import jax.numpy as jnp
        >>> from softshare_jax import sharing
        >>> mlp = nn.Sequential([nn.Dense(8), nn.Dense(8)])
        >>> model = sharing.SoftShare(mlp, sharing.by_shape(templates=1))
        >>> model.plan(jnp.ones((1, 8)))
        Plan(8x8: 2 layers of 8×8 share 1 template, layers_0/kernel to layers_1/kernel)

        Args:
            args, kwargs: inputs of the model, as for ``init``.
            method: method of the model, as for ``init``.

        Raises:
            PlanError: the rule finds nothing to share, or ``rule`` is a plan that does not fit the model.
        """
        return self._plan(method, args, kwargs)

    @nn.nowrap
    def __getattr__(self, name: str) -> Any:
        """Returns a method of the model that runs on materialized weights, as in ``shared.encode(x)``."""
        model = self.__dict__.get("model")
        if model is None or name.startswith("_") or not inspect.isfunction(getattr(type(model), name, None)):
            return super().__getattr__(name)
        return lambda *args, **kwargs: self._run(name, args, kwargs)

    def _run(self, method: Method, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        initializing = self.is_initializing()
        plan = self.rule if isinstance(self.rule, Plan) else self._plan(method, args, kwargs)

        def to_unshared(variables: Variables) -> Variables:
            if not variables:
                return variables
            try:
                return {"params": materialize(plan, variables)}
            except PlanError as error:
                raise self._partial(method, error) from error

        initial: list[Variables] = []

        def to_shared(unshared: Variables) -> Variables:
            # Linen calls this again with what the first result materializes to, and expects that result.
            # The key is drawn after the model's own parameters, so these are the same as without the
            # wrapper.
            if not initial:
                key = self.make_rng("params")
                initial.append(initialize(plan, unshared["params"], key, self.coefficients))
            return initial[0]

        run: Callable[..., Any] = nn.map_variables(
            lambda wrapper, *args, **kwargs: _call(wrapper.model, method, *args, **kwargs),
            list(plan.collections),
            trans_in_fn=to_unshared,
            trans_out_fn=to_shared,
            init=initializing,
        )
        return run(self, *args, **kwargs)

    @nn.nowrap
    def _plan(self, method: Method, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Plan:
        """Applies the rule to the shapes of the model's own parameters."""
        streams = self.scope.rngs if self.scope is not None else {}
        rngs = {name: jax.random.key(0) for name in {"params", *streams}}
        model = self.model.clone(parent=None)

        def call(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return _call(model, method, *args, **kwargs)

        variables = jax.eval_shape(lambda: model.init(rngs, *args, method=call, **kwargs))
        try:
            plan = self.rule(variables.get("params", {}))
        except PlanError as error:
            raise self._partial(method, error) from error
        if any(member.index is not None for group in plan.groups for member in group.members):
            others = {name: collection for name, collection in variables.items() if name != "params"}

            def apply(params: Any) -> Any:
                zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), others)
                given = {"params": params, **zeros}
                return model.apply(given, *args, rngs=rngs, mutable=True, method=call, **kwargs)

            check_stacks(plan, trace(apply, variables["params"]))
        return plan

    def _partial(self, method: Method, error: PlanError) -> PlanError:
        """Returns an error with its likely cause: a method may use only some parameters."""
        if method is None or isinstance(self.rule, Plan):
            return error
        return PlanError(f"{error}; a method that uses only some parameters needs SoftShare(model, plan)")


def _call(model: nn.Module, method: Method, *args: Any, **kwargs: Any) -> Any:
    """Calls a method of a bound model, a submodule by its name, or the model itself."""
    if method is None:
        return model(*args, **kwargs)
    if isinstance(method, str):
        return getattr(model, method)(*args, **kwargs)
    function = method.__func__ if inspect.ismethod(method) else method
    return function(model, *args, **kwargs)


def _of_model(method: Method) -> Method:
    """Returns a function of the wrapper that calls a method of its model."""
    if method is None:
        return None
    return lambda wrapper, *args, **kwargs: wrapper._run(method, args, kwargs)
