import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax.description.description import as_table, describe
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.models.grid_cnn import GridCNN
from softshare_jax.models.initializers import he_normal
from softshare_jax.models.layers import Layers
from softshare_jax.models.stage import Stage
from softshare_jax.models.wide_resnet import LAYERS, Block, WideResNet
from softshare_jax.sharing import Member, Plan
from tests.models.networks import ByHand, images, randomized


def count_by_hand(depth, channels, templates=None):
    """Returns the number of parameters of the shortest-paths network."""
    kernel = 9 * channels * channels
    private = (2 * channels + channels) + depth * 2 * channels + (channels + 1)
    if templates is None:
        return private + depth * kernel
    return private + templates * kernel + depth * templates


# From the authors' code, with 10 classes.
WIDE_RESNETS = {
    "wrn-28-10": 36_479_194,
    "swrn-28-10": 36_479_302,
    "swrn-28-10-6": 36_479_302,
    "swrn-28-10-4": 26_802_466,
    "swrn-28-10-2": 17_125_630,
    "swrn-28-10-1": 12_287_212,
    "swrn-28-6-2": 6_177_534,
    "swrn-28-14-2": 33_537_790,
    "swrn-28-14": 71_470_918,
    "swrn-28-18-2": 55_414_014,
    "swrn-28-18": 118_119_750,
    "swrn-40-8-8": 29_555_402,
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *WIDE_RESNETS.items(),
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
    # Within 10%: norms and ReLUs add to the count, padding reduces it.
    pixels, depth, channels = 32 * 32, 20, 32
    expected = 2 * pixels * (2 * channels + depth * 9 * channels**2 + channels)
    assert describe("cnn-20-32")["flops_per_example"] == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rnn-3", "unknown network 'rnn-3'"),
        ("cnn-20-32-4", "unknown network 'cnn-20-32-4'"),
        ("cnn-0-32", "unknown network 'cnn-0-32'"),
        ("scnn-1-8", "groups of fewer than two layers"),
        ("scnn-4-8-0", "1 to 4 templates, not 0"),
        ("scnn-4-8-5", "1 to 4 templates, not 5"),
        ("wrn-28", "unknown network 'wrn-28'; did you mean wrn-28-10"),
        ("wrn-28-10-2", "unknown network 'wrn-28-10-2'"),
        ("wrn-28-0", "unknown network 'wrn-28-0'"),
        ("wrn-27-10", r"6n [+] 4 layers \(10, 16, 22, 28, [.]{3}\), not 27"),
        ("swrn-4-10", "6n [+] 4 layers .*, not 4"),
        ("swrn-10-1", "groups of fewer than two layers"),
        ("swrn-28-10-0", "6 layers share 1 to 6 templates, not 0"),
        ("swrn-28-10-7", "6 layers share 1 to 6 templates, not 7"),
        ("swrn-40-1-11", "10 layers share 1 to 10 templates, not 11"),
    ],
)
def test_invalid_names(name, message):
    with pytest.raises(UserError, match=message):
        zoo.named(name)


@pytest.mark.parametrize("name", ["cnn-4-8", "wrn-28-10"])
def test_unshared_networks_have_the_empty_plan(name):
    assert zoo.named(name).rule == Plan()
    assert describe(name)["groups"] == []


@pytest.mark.parametrize(("depth", "layers"), [(16, 2), (28, 6), (40, 10)])
def test_groups_of_wide_resnets_are_their_stages(depth, layers):
    groups = describe(f"swrn-{depth}-2-1")["groups"]
    assert groups == [
        {"name": f"stage_{i}", "layers": layers, "templates": 1, "shape": [3, 3, channels, channels]}
        for i, channels in ((1, 32), (2, 64), (3, 128))
    ]


@pytest.mark.parametrize(("name", "width"), [("wrn-10-1", 1), ("swrn-16-2-1", 2), ("wrn-28-10", 10)])
def test_more_classes_only_enlarge_the_classifier(name, width):
    ten, hundred = (describe(name, num_classes)["parameters"] for num_classes in (10, 100))
    assert hundred - ten == 90 * (64 * width + 1)


def test_members_are_in_the_order_of_the_forward_pass():
    network = zoo.named("swrn-40-1-2")
    shapes = jax.eval_shape(lambda: network.build(zoo.Options()).init(jax.random.key(0), images(1)))
    for i, group in enumerate(network.rule(shapes["params"]).groups, start=1):
        blocks = f"stage_{i}/blocks"
        assert group.members == tuple(
            Member(f"{blocks}/conv{j}/kernel", row) for row in range(5) for j in (1, 2)
        )


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
    network = GridCNN(depth=2, channels=4, layers=Layers(he_normal, dtype=jnp.bfloat16))
    x = jnp.ones((1, 4, 4, 2))
    variables = network.init(jax.random.key(0), x)
    assert {a.dtype for a in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    traced = str(jax.make_jaxpr(network.apply)(variables, x))
    assert "bf16[1,4,4,4] = conv_general_dilated" in traced
    assert network.apply(variables, x).dtype == jnp.float32


@pytest.mark.parametrize(("depth", "width", "train"), [(10, 2, True), (22, 1, False)])
def test_wide_resnet_by_hand(depth, width, train):
    # With w = 1 the first block of stage 1 keeps its 16 channels and has no shortcut.
    network, x = WideResNet(depth, width, num_classes=5), images(2)
    variables = randomized(jax.jit(network.init)(jax.random.key(0), x))
    assert ("shortcut" in variables["params"]["stage_1"]["block_0"]) == (width > 1)
    assert "shortcut" in variables["params"]["stage_2"]["block_0"]
    expected = ByHand(variables, train)(x)
    assert np.std(expected) > 0.1
    out, updated = jax.jit(lambda v: network.apply(v, x, train, mutable=["batch_stats"]))(variables)
    np.testing.assert_allclose(out, expected, atol=1e-4 * np.abs(expected).max())
    if train:
        # Running statistics keep 0.9 of their value.
        stem = ByHand.conv(x, np.asarray(variables["params"]["stem"]["kernel"]))
        before, after = (tree["batch_stats"]["stage_1"]["block_0"]["norm1"] for tree in (variables, updated))
        for name, now in (("mean", stem.mean((0, 1, 2))), ("var", stem.var((0, 1, 2)))):
            np.testing.assert_allclose(after[name], 0.9 * before[name] + 0.1 * now, atol=1e-5)


def test_blocks_in_a_loop_are_the_blocks_one_by_one():
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    found, loops = [], []
    for scan in (False, True):
        block = functools.partial(Block, features=3, dropout=0.3, layers=LAYERS)
        stage = Stage(block, blocks=4, stride=1, scan=scan)
        fresh = jax.jit(stage.init, static_argnums=2)(rngs, x, False)
        variables = randomized(fresh)

        def loss(params, stage=stage, variables=variables):
            out, updated = stage.apply(
                {**variables, "params": params},
                x,
                True,
                mutable=["batch_stats"],
                rngs={"dropout": rngs["dropout"]},
            )
            return jnp.mean(jnp.sin(out)), (out, updated)

        lowered = jax.jit(jax.grad(loss, has_aux=True)).lower(variables["params"])
        loops.append(lowered.as_text().count("stablehlo.while"))
        gradients, (out, updated) = lowered.compile()(variables["params"])
        found.append({"fresh": fresh, "gradients": gradients, "out": out, **updated})
    # One loop forward and one backward; the other loops draw random numbers.
    assert loops[1] == loops[0] + 2
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *found)


def test_a_loop_changes_no_name_or_shape():
    looped, unrolled = (WideResNet(22, 2, num_classes=5, scan=scan) for scan in (True, False))
    shapes = [jax.eval_shape(lambda n=n: n.init(jax.random.key(0), images(1))) for n in (looped, unrolled)]
    assert shapes[0] == shapes[1]
    assert shapes[0]["params"]["stage_2"]["blocks"]["conv1"]["kernel"].shape == (2, 3, 3, 64, 64)


def test_dropout_is_active_only_in_training():
    network, x = WideResNet(10, 1, num_classes=5, dropout=0.5), images(2)
    without = WideResNet(10, 1, num_classes=5)
    variables = jax.jit(network.init)(jax.random.key(0), x)
    apply = jax.jit(
        lambda v, key: network.apply(v, x, train=True, mutable=["batch_stats"], rngs={"dropout": key})[0]
    )
    first, again, other = (apply(variables, jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    # Evaluation needs no random key and equals that of the network without dropout.
    evaluated = [jax.jit(n.apply)(variables, x) for n in (network, without)]
    np.testing.assert_array_equal(*evaluated)


def test_only_networks_with_dropout_take_a_rate():
    with pytest.raises(UserError, match=r"config.dropout_rate is 0.3, and cnn-4-8 has no dropout_rate"):
        zoo.named("cnn-4-8").build(zoo.Options(dropout_rate=0.3))
    options = zoo.Options(jnp.bfloat16, 7, 0.3, True)
    assert zoo.named("swrn-16-2-1").build(options) == WideResNet(
        16, 2, 7, 0.3, True, dataclasses.replace(LAYERS, dtype=jnp.bfloat16)
    )


def test_wide_resnet_in_bfloat16():
    network, x = (
        WideResNet(10, 1, num_classes=5, layers=dataclasses.replace(LAYERS, dtype=jnp.bfloat16)),
        jnp.asarray(images(2)),
    )
    variables = jax.jit(network.init)(jax.random.key(0), x)
    assert {a.dtype for a in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    traced = str(jax.make_jaxpr(network.apply)(variables, x))
    assert "bf16[2,8,8,16] = conv_general_dilated" in traced
    assert ":f32[2,8,8,16] = conv_general_dilated" not in traced
    logits, updated = jax.jit(lambda v: network.apply(v, x, True, mutable=["batch_stats"]))(variables)
    assert {a.dtype for a in jax.tree.leaves((logits, updated))} == {jnp.dtype("float32")}
    full = ByHand(variables, train=True)(np.asarray(x))
    np.testing.assert_allclose(logits, full, atol=0.1 * np.abs(full).max())


def test_he_normal_variance():
    weights = he_normal(jax.random.key(0), (3, 3, 64, 32))
    assert np.std(weights) == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    flat = jax.random.normal(jax.random.key(0), (9 * 64 * 32,)).reshape(3, 3, 64, 32)
    np.testing.assert_allclose(weights, flat * np.sqrt(2 / (9 * 64)), rtol=1e-6)
