"""SoftShare: any linen module with soft-shared weights."""

import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from softshare_jax.sharing.dense import to_dense
from softshare_jax.sharing.initializers import Initializer, initialize, orthogonal
from softshare_jax.sharing.materialization import Variables, materialize
from softshare_jax.sharing.plan import Plan, PlanError
from softshare_jax.sharing.rules import Rule
from softshare_jax.sharing.use import check_stacks, trace

SHARED = ["params", "templates", "coefficients"]
# A method of the model: its name, or a function that takes the model first.
Method = Callable[..., Any] | str | None


class SoftShare(nn.Module):
    """Runs a model on weights that are materialized from templates.

    ``init``, ``apply`` and ``bind`` are the model's own, and so are its methods, names, random streams and
    other collections; the model needs no changes.

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
        rule: a rule, or a plan. A plan saves the abstract initialization of the model that
            a rule needs at each trace.
        coefficients: initializer of the coefficients.
    """

    model: nn.Module
    rule: Rule
    coefficients: Initializer = orthogonal

    def setup(self):
        """Shares the model's scope."""
        # One scope for both: the parameter tree has no level of its own for the wrapper.
        nn.share_scope(self, self.model)

    def __call__(self, *args, **kwargs):
        """Calls the model, with whatever it takes and returns."""
        return self._run(None, args, kwargs)

    @nn.nowrap
    def apply(self, variables, *args, method: Method = None, **kwargs):
        """Applies the model, or one of its methods, as ``nn.Module.apply`` does."""
        return super().apply(variables, *args, method=_of_model(method), **kwargs)

    @nn.nowrap
    def init_with_output(self, rngs, *args, method: Method = None, **kwargs):
        """Initializes the variables by the model, or by one of its methods, as ``nn.Module`` does."""
        return super().init_with_output(rngs, *args, method=_of_model(method), **kwargs)

    @nn.nowrap
    def bind(self, variables, *args, **kwargs) -> nn.Module:  # type: ignore[override]
        """Returns the model itself, bound to materialized weights.

        Args:
            variables: soft-shared variables.
            *args, **kwargs: as ``nn.Module.bind`` takes them.

        Raises:
            PlanError: ``rule`` is no plan: what a rule makes depends on the inputs, which are not known here.
        """
        if not isinstance(self.rule, Plan):
            raise PlanError("bind needs SoftShare(model, plan): make the plan first, plan = rule(params)")
        return self.model.clone(parent=None).bind(to_dense(self.rule, variables), *args, **kwargs)

    @nn.nowrap
    def __getattr__(self, name: str) -> Any:
        """Returns a method of the model, as in ``shared.encode(x)``, which runs on materialized weights."""
        model = self.__dict__.get("model")
        if model is None or name.startswith("_") or not inspect.isfunction(getattr(type(model), name, None)):
            return super().__getattr__(name)
        return lambda *args, **kwargs: self._run(name, args, kwargs)

    def _run(self, method: Method, args: tuple, kwargs: dict[str, Any]) -> Any:
        initializing = self.is_initializing()
        plan = self.rule if isinstance(self.rule, Plan) else self._plan(method, args, kwargs)

        def to_plain(variables: Variables) -> Variables:
            if not variables:
                return variables
            try:
                return {"params": materialize(plan, variables)}
            except PlanError as error:
                raise self._partial(method, error) from error

        initial: list[Variables] = []

        def to_shared(plain: Variables) -> Variables:
            # Linen calls this a second time on what the first result materializes to, which is
            # that result again. The key is drawn after the model's own parameters, which are
            # thus what they would be without the wrapper.
            if not initial:
                key = self.make_rng("params")
                initial.append(initialize(plan, plain["params"], key, self.coefficients))
            return initial[0]

        run = nn.map_variables(
            lambda wrapper, *args, **kwargs: _call(wrapper.model, method, *args, **kwargs),
            SHARED,
            trans_in_fn=to_plain,
            trans_out_fn=to_shared,
            init=initializing,
        )
        return run(self, *args, **kwargs)

    def _plan(self, method: Method, args: tuple, kwargs: dict[str, Any]) -> Plan:
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
        """Returns an error that says what may be behind it: a method need not use all parameters."""
        if method is None or isinstance(self.rule, Plan):
            return error
        return PlanError(f"{error}; a method that uses only some parameters needs SoftShare(model, plan)")


def _call(model: nn.Module, method: Method, *args: Any, **kwargs: Any) -> Any:
    """Calls a method of a bound model, or a submodule by its name, or the model itself."""
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
