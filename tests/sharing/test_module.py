"""SoftShare around a linen network keeps names, random streams and collections of the model."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from softshare_jax import sharing
from tests.sharing import models


class Net(nn.Module):
    """Has everything that a wrapper could disturb: parameters, batch-norm, dropout, sown values."""

    @nn.compact
    def __call__(self, x, train=False):
        scale = self.param("scale", nn.initializers.normal(), (3,))
        for i in range(3):
            x = nn.BatchNorm(use_running_average=not train, name=f"norm_{i}")(
                nn.Dense(4, name=f"dense_{i}")(x)
            )
            self.sow("intermediates", "x", x)
        return nn.Dropout(0.5, deterministic=not train)(x) + jnp.sum(scale)

    def twice(self, x):
        return self(x) * 2


RULE = sharing.by_regex({"dense": r"dense_\d/kernel"}, templates=2)
X = jnp.linspace(-1, 1, 8).reshape(2, 4)
KEY = jax.random.key(0)


@pytest.fixture(params=["rule", "plan"])
def model(request):
    plan = RULE(Net().init(KEY, X)["params"])
    return sharing.SoftShare(Net(), RULE if request.param == "rule" else plan)


def test_the_whole_tree_of_shapes(model):
    norm = {f"norm_{i}": {"scale": (4,), "bias": (4,)} for i in range(3)}
    assert jax.tree.map(jnp.shape, model.init(KEY, X)) == {
        "params": {**{f"dense_{i}": {"bias": (4,)} for i in range(3)}, **norm, "scale": (3,)},
        "templates": {"dense": (2, 4, 4)},
        "coefficients": {"dense": (3, 2)},
        "batch_stats": {f"norm_{i}": {"mean": (4,), "var": (4,)} for i in range(3)},
    }


def test_private_parameters_and_templates_equal_the_model_s_own_initialization(model):
    variables, dense = model.init(KEY, X), Net().init(KEY, X)
    np.testing.assert_array_equal(variables["params"]["scale"], dense["params"]["scale"])
    for j in range(2):
        np.testing.assert_array_equal(
            variables["templates"]["dense"][j], dense["params"][f"dense_{j}"]["kernel"]
        )


def check_equal_to_unshared(model, variables):
    plan = RULE(Net().init(KEY, X)["params"])
    dense = sharing.to_dense(plan, variables)
    options = {"train": True, "mutable": ["batch_stats", "intermediates"], "rngs": {"dropout": KEY}}
    (y, updates), (expected, expected_updates) = (
        m.apply(v, X, **options) for m, v in ((model, variables), (Net(), dense))
    )
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), updates, expected_updates
    )


def test_outputs_statistics_and_sown_values_are_those_of_the_unshared_network(model):
    check_equal_to_unshared(model, model.init(KEY, X))


def test_weights_are_still_tied_after_an_update(model):
    variables = model.init(KEY, X)
    collections = {name: variables[name] for name in ("params", "templates", "coefficients")}

    def loss(weights):
        return jnp.sum(model.apply({**variables, **weights}, X) ** 2)

    optimizer = optax.sgd(0.1)
    updates, _ = optimizer.update(jax.jit(jax.grad(loss))(collections), optimizer.init(collections))
    updated = {**variables, **optax.apply_updates(collections, updates)}
    assert np.abs(updated["templates"]["dense"] - variables["templates"]["dense"]).max() > 1e-4
    assert np.abs(updated["coefficients"]["dense"] - variables["coefficients"]["dense"]).max() > 1e-4
    check_equal_to_unshared(model, updated)


def test_a_transformer_with_linen_attention():
    model, tokens = models.Transformer(layers=2), models.TOKENS
    rule = sharing.by_regex(
        {name: rf".*Attention_\d/{name}/kernel" for name in ("query", "key", "value", "out")}, templates=1
    )
    shared = sharing.SoftShare(model, rule)
    with jax.numpy_rank_promotion("allow"):
        variables = shared.init(KEY, tokens)
        plan = rule(jax.eval_shape(model.init, KEY, tokens)["params"])
        logits = model.apply(sharing.to_dense(plan, variables), tokens)
        np.testing.assert_array_equal(shared.apply(variables, tokens), logits)
        assert np.abs(logits - model.apply(model.init(KEY, tokens), tokens)).max() > 1e-3


def test_the_empty_plan_is_the_model_itself():
    model, dense = sharing.SoftShare(Net(), sharing.Plan()), Net().init(KEY, X)
    variables = model.init(KEY, X)
    assert jax.tree.structure({c: t for c, t in variables.items() if t}) == jax.tree.structure(dense)
    np.testing.assert_array_equal(model.apply(dense, X), Net().apply(dense, X))


def test_inside_another_module():
    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(sharing.SoftShare(Net(name="body"), RULE)(x))

    variables = Outer().init(KEY, X)
    assert variables["templates"]["body"]["dense"].shape == (2, 4, 4)
    assert Outer().apply(variables, X).shape == (2, 2)


def test_jitted_initialization_draws_the_same(model):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        model.init(KEY, X),
        jax.jit(model.init)(KEY, X),
    )


def test_a_plan_of_another_network():
    plan = sharing.by_regex({"g": r"other_\d"})({"other_0": X, "other_1": X})
    with pytest.raises(sharing.PlanError, match="other_0, which is not a parameter of the model"):
        sharing.SoftShare(Net(), plan).init(KEY, X)


def test_the_plan_for_some_inputs(model):
    plan = RULE(Net().init(KEY, X)["params"])
    assert model.plan(X) == model.plan(X, train=True) == plan
    assert jax.eval_shape(model.init, KEY, X)["coefficients"]["dense"].shape == (3, 2)
    with pytest.raises(sharing.PlanError, match=r"no path matches|is not a parameter"):
        sharing.SoftShare(nn.Dense(3), model.rule).plan(X)


class Autoencoder(nn.Module):
    """A model with methods and named submodules."""

    def setup(self):
        self.encoder = [nn.Dense(4) for _ in range(3)]
        self.decoder = nn.Dense(4)
        self.norm = nn.BatchNorm()

    def encode(self, x, train=False):
        for layer in self.encoder:
            x = nn.relu(layer(x))
        return self.norm(x, use_running_average=not train)

    def __call__(self, x, train=False):
        return self.decoder(self.encode(x, train))


ENCODER = sharing.by_regex({"encoder": r"encoder_\d/kernel"}, templates=2)


@pytest.fixture(params=["rule", "plan"])
def autoencoder(request):
    plan = ENCODER(Autoencoder().init(KEY, X)["params"])
    return sharing.SoftShare(Autoencoder(), ENCODER if request.param == "rule" else plan)


def dense_of(variables):
    return sharing.to_dense(ENCODER(Autoencoder().init(KEY, X)["params"]), variables)


def test_methods_of_the_model(autoencoder):
    variables = autoencoder.init(KEY, X)
    expected = Autoencoder().apply(dense_of(variables), X, method="encode")
    by_call = Autoencoder().apply(dense_of(variables), X)
    for method in ("encode", Autoencoder.encode, Autoencoder().encode, lambda m, x: m.encode(x)):
        np.testing.assert_array_equal(autoencoder.apply(variables, X, method=method), expected)
    np.testing.assert_array_equal(autoencoder.apply(variables, X, method="__call__"), by_call)
    _, updates = autoencoder.apply(variables, X, True, method="encode", mutable=["batch_stats"])
    assert np.abs(updates["batch_stats"]["norm"]["mean"]).max() > 0


def test_init_by_a_method_of_the_model(autoencoder):
    variables = autoencoder.init(KEY, X, method="encode")
    assert variables["templates"]["encoder"].shape == (2, 4, 4)
    assert set(variables["params"]) == {"norm", "encoder_0", "encoder_1", "encoder_2"}
    everything = variables["params"] | dense_of(variables)["params"]
    assert autoencoder.plan(X, method="encode") == ENCODER(everything)
    output, again = autoencoder.init_with_output(KEY, X, method=Autoencoder.encode)
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    assert output.shape == X.shape


def test_bind_and_submodules():
    plan = ENCODER(Autoencoder().init(KEY, X)["params"])
    model = sharing.SoftShare(Autoencoder(), plan)
    variables = model.init(KEY, X)
    bound = model.bind(variables)
    np.testing.assert_array_equal(bound.encode(X), model.apply(variables, X, method="encode"))
    np.testing.assert_array_equal(bound.decoder(X), model.apply(variables, X, method="decoder"))


def test_what_a_rule_cannot_know():
    model = sharing.SoftShare(Autoencoder(), ENCODER)
    variables = model.init(KEY, X)
    with pytest.raises(sharing.PlanError, match=r"bind needs SoftShare\(model, plan\)"):
        model.bind(variables)
    with pytest.raises(sharing.PlanError, match=r"only some parameters needs SoftShare\(model, plan\)"):
        model.apply(variables, X, method="decoder")


def test_methods_inside_another_module():
    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x):
            body = sharing.SoftShare(Autoencoder(name="body"), ENCODER)
            return body(x), body.encode(x)

    variables = Outer().init(KEY, X)
    assert set(variables["params"]) == {"body"}
    _, encoded = Outer().apply(variables, X)
    inner = {name: collection["body"] for name, collection in variables.items()}
    np.testing.assert_array_equal(encoded, Autoencoder().apply(dense_of(inner), X, method="encode"))


def test_attributes_that_the_model_does_not_have():
    with pytest.raises(AttributeError, match="nothing"):
        sharing.SoftShare(Autoencoder(), ENCODER).nothing  # noqa: B018
