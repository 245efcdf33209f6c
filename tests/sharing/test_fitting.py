"""from_dense with residuals and with moments, against NumPy and against theorems."""

import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from softshare_jax import sharing
from softshare_jax.sharing import Group, Member, Plan, PlanError, fitting
from tests.sharing.models import Scanned

RANDOM = np.random.default_rng(0)
MEMBERS = tuple(map(Member, "abcd"))
PARAMS = {name: jnp.asarray(RANDOM.normal(size=(6, 5)), jnp.float32) for name in "abcd"}
DENSE = np.stack([np.asarray(PARAMS[name], np.float64) for name in "abcd"])


def group(templates, shape=(6, 5), **options):
    return Plan((Group("g", MEMBERS, templates, shape, **options),))


def fitted(plan, moments=None, params=PARAMS):
    variables = sharing.from_dense(plan, params, None if moments is None else {"g": moments})
    found = sharing.materialize(plan, variables)
    return np.stack([np.asarray(found[name], np.float64) for name in "abcd"])


def error(found, moments=None):
    """Returns the squared error of the weights, or of the outputs for inputs with these moments."""
    change = DENSE - found
    return float(np.sum(change * (change if moments is None else moments @ change)))


def moments_of(layers, size=6, rank=8):
    """Returns second moments [layers, size, size] of inputs that prefer some directions."""
    inputs = RANDOM.normal(size=(layers, rank, size)) * 3.0 ** -np.arange(size)
    inputs = inputs @ RANDOM.normal(size=(size, size))
    return np.float32(inputs.swapaxes(1, 2) @ inputs / rank)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("templates", "rank"), [(4, 1), (1, 5)])
def test_all_templates_or_all_ranks_are_exact(templates, rank, per_channel):
    plan = group(templates, per_channel=per_channel, rank=rank)
    np.testing.assert_allclose(fitted(plan), DENSE, atol=1e-4)


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("options", [{"rank": 1}, {"rank": 2, "per_channel": True}])
def test_the_error_falls_with_every_turn(monkeypatch, options, calibrated):
    moments = moments_of(4) if calibrated else None
    errors = []
    for turns in (0, 1, 2, 4, 8):
        monkeypatch.setattr(fitting, "TURNS", turns)
        errors.append(error(fitted(group(1, **options), moments), moments))
    assert all(later <= earlier * (1 + 1e-4) for earlier, later in itertools.pairwise(errors))
    assert errors[1] < 0.9 * errors[0]  # the first residuals
    assert errors[-1] < 0.999 * errors[1]


def test_residuals_that_are_there_are_found():
    # A loop of layers that differ by a matrix of rank 1.
    base, left, right = (RANDOM.normal(size=shape) for shape in ((6, 5), (4, 6, 1), (4, 1, 5)))
    weights = 3 * base + 0.3 * left @ right
    params = {name: jnp.asarray(w, jnp.float32) for name, w in zip("abcd", weights, strict=True)}
    found = fitted(group(1, rank=1), params=params)
    plain = fitted(group(1), params=params)
    assert np.linalg.norm(found - weights) < 0.2 * np.linalg.norm(plain - weights)


def test_factors_can_be_trained():
    variables = sharing.from_dense(group(2, rank=2), PARAMS)
    alpha, right = variables["coefficients"]["g"], variables["residuals"]["g"]["right"]
    np.testing.assert_allclose(alpha.T @ alpha, np.eye(2), atol=1e-5)
    np.testing.assert_allclose(right @ right.mT, np.eye(2)[None].repeat(4, 0), atol=1e-5)


@pytest.mark.parametrize("per_channel", [False, True])
def test_one_moment_for_all_layers_gives_the_best_templates(per_channel):
    (moments,) = moments_of(1)
    found = fitted(group(2, per_channel=per_channel), moments)
    values, vectors = np.linalg.eigh(np.float64(moments))
    seen = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T @ DENSE
    rows = seen.transpose(2, 0, 1) if per_channel else seen.reshape(1, 4, -1)
    best = np.sum(np.linalg.svd(rows, compute_uv=False)[:, 2:] ** 2)
    assert error(found, moments) == pytest.approx(best, rel=1e-3)
    assert error(fitted(group(2, per_channel=per_channel)), moments) > 1.1 * best


def test_directions_that_no_input_has_do_not_count():
    moments = moments_of(1, rank=3)[0]  # singular
    found = fitted(group(1, rank=1), moments)
    assert np.isfinite(found).all()
    assert error(found, moments) < 0.9 * error(fitted(group(1, rank=1)), moments)


@pytest.mark.parametrize("options", [{}, {"per_channel": True}, {"rank": 1}])
def test_a_moment_for_each_layer_is_used(monkeypatch, options):
    monkeypatch.setattr(fitting, "TOLERANCE", 1e-6)
    moments, plan = moments_of(4), group(2, **options)
    found = fitted(plan, moments)
    assert error(found, moments) < 0.95 * error(fitted(plan, moments.mean(0)), moments)
    if not options:
        # No small change of templates helps.
        variables = sharing.from_dense(plan, PARAMS, {"g": moments})

        def loss(templates):
            weights = sharing.materialize(plan, {**variables, "templates": {"g": templates}})
            change = jnp.stack([weights[name] - PARAMS[name] for name in "abcd"])
            return jnp.sum(change * (jnp.asarray(moments) @ change))

        slope = jax.grad(loss)(variables["templates"]["g"])
        assert np.linalg.norm(slope) < 2e-2 * np.linalg.norm(jax.grad(loss)(0 * variables["templates"]["g"]))


class Net(nn.Module):
    options: Mapping[str, Any]

    @nn.compact
    def __call__(self, x):
        for i in range(3):
            x = nn.Conv(4, (3, 2), strides=(1, 2), name=f"conv_{i}", **self.options)(x)
        for i in range(2):
            x = nn.tanh(nn.Dense(4, name=f"dense_{i}")(x))
        return x


@pytest.mark.parametrize("rank", [0, 1])
def test_all_templates_are_exact_also_in_directions_that_a_layer_does_not_see(rank):
    moments = moments_of(4)
    moments[1] = 0
    np.testing.assert_allclose(fitted(group(4, rank=rank), moments), DENSE, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"rank": 1}])
@pytest.mark.parametrize("layers", [1, 4])
def test_moments_may_be_finer_than_weights(options, layers):
    with jax.enable_x64(True):
        variables = sharing.from_dense(group(2, **options), PARAMS, {"g": np.float64(moments_of(layers))})
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_folded_group_gets_the_best_multiples(per_channel):
    plan = group(3, assignment=(2, 0, 2, 2), per_channel=per_channel)
    expected = DENSE.copy()
    for channels in ([0], [1], [2], [3], [4]) if per_channel else [range(5)]:
        place = np.ix_([0, 2, 3], range(6), channels)
        u, s, vt = np.linalg.svd(DENSE[place].reshape(3, -1), full_matrices=False)
        expected[place] = (s[0] * np.outer(u[:, 0], vt[0])).reshape(DENSE[place].shape)
    np.testing.assert_allclose(fitted(plan), expected, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{}, {"padding": 1}, {"padding": ((1, 0), (2, 1)), "input_dilation": (2, 1), "kernel_dilation": 2}],
)
def test_moments_are_those_of_the_inputs_of_layers(options):
    net = Net(options)
    x = jax.random.normal(jax.random.key(0), (2, 5, 9, 4))
    variables = net.init(jax.random.key(1), x)
    plan = sharing.by_shape(1)(variables["params"])
    moments = sharing.input_moments(plan, lambda: net.apply(variables, x))
    assert jax.tree.map(jnp.shape, moments) == {"3x2x4x4": (3, 24, 24), "4x4": (2, 4, 4)}
    # The mean squared output of any kernel, without bias, is that of its moments.
    _, state = net.apply(variables, x, capture_intermediates=True)
    for name, layers in (("3x2x4x4", "conv"), ("4x4", "dense")):
        for i, moment in enumerate(moments[name]):
            layer = f"{layers}_{i}"
            kernel = variables["params"][layer]["kernel"].reshape(len(moment), -1)
            expected = jnp.mean(jnp.sum(state["intermediates"][layer]["__call__"][0] ** 2, axis=-1))
            np.testing.assert_allclose(jnp.sum(kernel * (moment @ kernel)), expected, rtol=1e-4)
    calibrated = sharing.from_dense(plan, variables["params"], moments)
    assert calibrated["templates"]["3x2x4x4"].shape == (1, 3, 2, 4, 4)


@pytest.mark.parametrize("wrap", [lambda apply: apply, jax.jit])
def test_moments_of_the_rows_of_a_scan(wrap):
    x = jax.random.normal(jax.random.key(0), (5, 6))
    variables = Scanned().init(jax.random.key(1), x)
    plan = sharing.by_regex({"g": "layers/kernel"}, stacked="layers/.*", templates=1)(variables["params"])
    apply = wrap(Scanned().apply)
    moments = sharing.input_moments(plan, lambda: apply(variables, x))["g"]
    inputs = [x]
    layers = variables["params"]["layers"]
    for kernel, bias in zip(layers["kernel"][:-1], layers["bias"][:-1, None], strict=True):
        inputs.append(nn.relu(inputs[-1] @ kernel + bias))
    np.testing.assert_allclose(moments, [one.T @ one / 5 for one in inputs], rtol=1e-5, atol=1e-7)


def test_moments_of_attention():
    layers = [nn.MultiHeadDotProductAttention(2) for _ in range(2)]
    net, x = nn.Sequential(layers), jax.random.normal(jax.random.key(0), (3, 5, 4))
    variables = net.init(jax.random.key(1), x)
    plan = sharing.by_regex({role: rf"layers_\d/{role}/kernel" for role in ("query", "out")})(
        variables["params"]
    )
    _, state = net.apply(variables, x, capture_intermediates=True)
    moments = sharing.input_moments(plan, lambda: net.apply(variables, x))
    for role, i in itertools.product(("query", "out"), range(2)):
        # The mean squared output, without bias, is that of the moments.
        moment = moments[role][i]
        kernel = variables["params"][f"layers_{i}"][role]["kernel"].reshape(len(moment), -1)
        outputs = state["intermediates"][f"layers_{i}"][role]["__call__"][0].reshape(15, -1)
        expected = jnp.mean(jnp.sum(outputs**2, axis=-1))
        np.testing.assert_allclose(jnp.sum(kernel * (moment @ kernel)), expected, rtol=1e-4)


def test_moments_that_do_not_fit():
    with pytest.raises(PlanError, match=r"shape \(5, 5\): weights of shape \(6, 5\) need \[6, 6\], for all"):
        fitted(group(1), np.eye(5))
    with pytest.raises(PlanError, match=r"need \[2, 2\] or \[6, 6\]"):
        sharing.from_dense(group(1, (2, 3, 5)), {n: jnp.ones((2, 3, 5)) for n in "abcd"}, {"g": np.eye(3)})
    with pytest.raises(PlanError, match=r"templates is a whole number, not 2\.0"):
        group(2.0)
    with pytest.raises(PlanError, match="there is no group 'h', the groups are g"):
        sharing.from_dense(group(1), PARAMS, {"h": np.eye(6)})

    class Grouped(nn.Module):
        @nn.compact
        def __call__(self, x):
            for i in range(2):
                x = nn.Conv(4, (3,), feature_group_count=2, name=f"conv_{i}")(x)
            return x

    x = jnp.ones((1, 5, 4))
    variables = Grouped().init(jax.random.key(0), x)
    plan = sharing.by_shape(1)(variables["params"])
    with pytest.raises(
        PlanError, match=r"no moments were read: no group has only whole kernels of nn\.Dense"
    ):
        sharing.input_moments(plan, lambda: Grouped().apply(variables, x))
