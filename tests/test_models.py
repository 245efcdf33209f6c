import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax.analysis.description import as_table, describe
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.models.grid_cnn import GridCNN
from softshare_jax.models.initializers import he_normal
from softshare_jax.sharing import Plan


def count_by_hand(depth, channels, templates=None):
    """Parameters of the shortest-paths network, from its description in words."""
    kernel = 9 * channels * channels
    private = (2 * channels + channels) + depth * 2 * channels + (channels + 1)
    if templates is None:
        return private + depth * kernel
    return private + templates * kernel + depth * templates


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cnn-20-32", count_by_hand(20, 32)),
        ("scnn-20-32", count_by_hand(20, 32, 20)),
        ("scnn-20-32-4", count_by_hand(20, 32, 4)),
        ("scnn-2-8-1", count_by_hand(2, 8, 1)),
    ],
)
def test_parameter_counts(name, expected):
    description = describe(name)
    assert description["parameters"] == expected
    assert description["shared_parameters"] + description["private_parameters"] == expected
    assert name in as_table(description)


def test_flops_are_those_of_the_convolutions():
    # Within a tenth: norms, ReLUs and padding come on top or off.
    pixels, depth, channels = 32 * 32, 20, 32
    expected = 2 * pixels * (2 * channels + depth * 9 * channels**2 + channels)
    assert describe("cnn-20-32")["flops_per_example"] == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rnn-3", "the names are"),
        ("cnn-20-32-4", "the names are"),
        ("cnn-0-32", "the names are"),
        ("scnn-1-8", "groups of fewer than two layers"),
        ("scnn-4-8-0", "1 to 4 templates, not 0"),
        ("scnn-4-8-5", "1 to 4 templates, not 5"),
    ],
)
def test_names_that_are_none(name, message):
    with pytest.raises(UserError, match=message):
        zoo.named(name)


def test_unshared_networks_have_the_empty_plan():
    assert zoo.named("cnn-4-8").rule == Plan()


def test_block_by_hand():
    network = GridCNN(depth=1, channels=3)
    x = jax.random.uniform(jax.random.key(0), (2, 4, 4, 2))
    variables = network.init(jax.random.key(1), x)
    p = jax.tree.map(np.asarray, variables["params"])
    stem = np.einsum("bhwi,io->bhwo", x, p["stem"]["kernel"][0, 0]) + p["stem"]["bias"]
    padded = np.pad(stem, ((0, 0), (1, 1), (1, 1), (0, 0)))
    conv = sum(
        np.einsum("bhwi,io->bhwo", padded[:, i : i + 4, j : j + 4], p["block_0"]["conv"]["kernel"][i, j])
        for i in range(3)
        for j in range(3)
    )
    blocks = stem + np.maximum(conv / np.sqrt(1 + 1e-5), 0)
    logits = np.einsum("bhwi,i->bhw", blocks, p["head"]["kernel"][0, 0, :, 0]) + p["head"]["bias"]
    np.testing.assert_allclose(network.apply(variables, x), logits, atol=1e-4)


def test_bfloat16_computes_in_bfloat16_and_keeps_parameters_and_logits_in_float32():
    network = GridCNN(depth=2, channels=4, dtype=jnp.bfloat16)
    x = jnp.ones((1, 4, 4, 2))
    variables = network.init(jax.random.key(0), x)
    assert {a.dtype for a in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    traced = str(jax.make_jaxpr(network.apply)(variables, x))
    assert "bf16[1,4,4,4] = conv_general_dilated" in traced
    assert network.apply(variables, x).dtype == jnp.float32


def test_he_normal_variance():
    weights = he_normal(jax.random.key(0), (3, 3, 64, 32))
    assert np.std(weights) == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    flat = jax.random.normal(jax.random.key(0), (9 * 64 * 32,)).reshape(3, 3, 64, 32)
    np.testing.assert_allclose(weights, flat * np.sqrt(2 / (9 * 64)), rtol=1e-6)
