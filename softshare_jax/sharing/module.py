"""SoftShare: any linen module with soft-shared weights."""

from typing import Any

import flax.linen as nn
import jax

from softshare_jax.sharing.initializers import Initializer, initialize, orthogonal
from softshare_jax.sharing.materialization import Variables, materialize
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.rules import Rule

SHARED = ["params", "templates", "coefficients"]


class SoftShare(nn.Module):
    """Runs a model on weights that are materialised from templates.

    ``init`` and ``apply`` are the model's own, so are its names, random streams and other
    collections; the model knows nothing of it.

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
        rule: a rule, or a plan. A plan saves the abstract initialisation of the model that
            a rule needs at each trace.
        coefficients: initialiser of the coefficients.
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
        initializing = self.is_initializing()
        plan = self.rule if isinstance(self.rule, Plan) else self._plan(args, kwargs)

        def to_plain(variables: Variables) -> Variables:
            return {"params": materialize(plan, variables)} if variables else variables

        initial: list[Variables] = []

        def to_shared(plain: Variables) -> Variables:
            # Linen calls this a second time on what the first result materialises to, which is
            # that result again. The key is drawn after the model's own parameters, which are
            # thus what they would be without the wrapper.
            if not initial:
                key = self.make_rng("params")
                initial.append(initialize(plan, plain["params"], key, self.coefficients))
            return initial[0]

        run = nn.map_variables(
            lambda wrapper, *args, **kwargs: wrapper.model(*args, **kwargs),
            SHARED,
            trans_in_fn=to_plain,
            trans_out_fn=to_shared,
            init=initializing,
        )
        return run(self, *args, **kwargs)

    def _plan(self, args: Any, kwargs: Any) -> Plan:
        """Applies the rule to the shapes of the model's own parameters."""
        streams = self.scope.rngs if self.scope is not None else {}
        rngs = {name: jax.random.key(0) for name in {"params", *streams}}
        init = self.model.clone(parent=None).init
        variables = jax.eval_shape(lambda: init(rngs, *args, **kwargs))
        return self.rule(variables.get("params", {}))
