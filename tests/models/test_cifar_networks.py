"""CIFAR networks that the poster compares: sizes, groups, and training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from softshare_jax import sharing
from softshare_jax.description.description import describe, parameters
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from tests.models.networks import drawn

# Millions of parameters with 10 classes, and the relative tolerance: publications of searched cells omit
# some details.
PUBLISHED = {
    "resnext-29-8x64d": (34.4, 0.005),
    "resnext-29-16x64d": (68.1, 0.005),
    "densenet-100-24": (27.2, 0.005),
    "densenet-bc-190-40": (25.6, 0.005),
    "wrn-40-4": (8.9, 0.006),
    "nasnet-a": (3.3, 0.03),
    "nasnet-a-20x96": (27.6, 0.03),
    "amoebanet-b": (2.8, 0.03),
    "amoebanet-b-20x80": (13.7, 0.03),
    "amoebanet-b-20x128": (34.9, 0.03),
    "darts": (3.4, 0.03),
    "snas": (2.8, 0.03),
    "enas": (4.6, 0.03),
}


def shapes_of(name):
    network = zoo.named(name)
    shapes = jax.eval_shape(
        network.build(zoo.Options()).init, jax.random.key(0), jnp.zeros((1, *network.input_shape))
    )
    return network.rule(shapes["params"]), shapes["params"]


@pytest.mark.parametrize(("name", "millions", "tolerance"), [(n, *row) for n, row in PUBLISHED.items()])
def test_parameter_counts_are_those_published(name, millions, tolerance):
    assert parameters(name).total == pytest.approx(1e6 * millions, rel=tolerance)


def test_darts_has_the_parameter_count_of_its_authors_code():
    assert parameters("darts").total == 3_349_342


def test_sdarts_by_hand():
    # A normal cell has five separable 3x3 (edges 0 to 4), each depthwise and pointwise twice, and a dilated
    # one (edge 7), each once. Six such cells in each of three stages of 36, 72 and 144 channels.
    described = describe("sdarts-2")
    expected, saved = [], 0
    for stage, channels in enumerate((36, 72, 144), start=1):
        for edge, units in [*((edge, 2) for edge in range(5)), (7, 1)]:
            for unit in range(1, units + 1):
                for kind, shape in (
                    ("depthwise", [3, 3, 1, channels]),
                    ("pointwise", [1, 1, channels, channels]),
                ):
                    name = f"stage_{stage}_edge_{edge}_{kind}_{unit}"
                    expected.append({"name": name, "layers": 6, "templates": 2, "shape": shape})
                    saved += (6 - 2) * int(np.prod(shape)) - 6 * 2
    assert described["groups"] == expected
    assert described["parameters"] == 3_349_342 - saved
    assert described["unshared_parameters"] == 3_349_342


def test_members_are_the_same_edge_of_the_normal_cells_of_a_stage():
    plan, _ = shapes_of("senas-8x4-1")
    groups = {group.name: [member.path for member in group.members] for group in plan.groups}
    # Cells 2 and 5 reduce. Edge 3 of ENAS is its first separable 5x5.
    assert groups["stage_2_edge_3_pointwise_2"] == [f"cell_{i}/edge_3/pointwise_2/kernel" for i in (3, 4)]
    assert {name[:7] for name in groups} == {"stage_1", "stage_2", "stage_3"}
    assert not any("edge_0_" in name for name in groups)


def test_members_of_dense_blocks():
    plan, params = shapes_of("sdensenet-bc-40-12-3")
    assert [(g.layers, g.templates, g.shape) for g in plan.groups] == [(6, 3, (3, 3, 48, 12))] * 3
    assert plan.groups[2].members[5].path == "block_3/layer_5/conv2/kernel"
    # Without bottlenecks: the part of each kernel that reads the input of the block.
    plan, params = shapes_of("sdensenet-100-24-4")
    assert [(g.layers, g.templates, g.shape) for g in plan.groups] == [
        (32, 4, (3, 3, channels, 24)) for channels in (16, 16 + 32 * 24, 16 + 64 * 24)
    ]
    channels = 16 + 32 * 24
    assert str(plan.groups[1].members[7]) == f"block_2/layer_7/conv/kernel[:, :, 0:{channels}]"
    assert params["block_2"]["layer_7"]["conv"]["kernel"].shape == (3, 3, channels + 7 * 24, 24)
    # The part that reads earlier layers is private. The first layer has no such part.
    private = jax.eval_shape(lambda: sharing.initialize(plan, zeros(params), jax.random.key(0)))["params"]
    assert private["block_2"]["layer_7"]["conv"]["kernel"].shape == (3, 3, 7 * 24, 24)
    assert "conv" not in private["block_2"]["layer_0"]


def zeros(shapes):
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def test_a_dense_block_shares_a_part_of_each_kernel():
    # Three templates for three layers: the shared network is the unshared network.
    network = zoo.named("densenet-13-6").build(zoo.Options())
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    unshared = drawn(jax.eval_shape(network.init, jax.random.key(0), x))
    plan = zoo.named("sdensenet-13-6").rule(unshared["params"])
    variables = sharing.initialize(plan, unshared["params"], jax.random.key(0), sharing.identity)
    kernels = [unshared["params"]["block_2"][f"layer_{i}"]["conv"]["kernel"] for i in range(3)]
    channels = 16 + 3 * 6
    for i, kernel in enumerate(kernels):
        np.testing.assert_array_equal(variables["templates"]["block_2"][i], kernel[:, :, :channels])
    np.testing.assert_array_equal(
        variables["params"]["block_2"]["layer_2"]["conv"]["kernel"], kernels[2][:, :, channels:]
    )
    jax.tree.map(
        np.testing.assert_array_equal, sharing.to_dense(plan, variables)["params"], unshared["params"]
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnext-28-8x64d", r"has 9n [+] 2 layers \(11, 20, .*\), not 28; for ImageNet it has 14"),
        ("densenet-99-24", "3n [+] 4 layers, not 99"),
        ("densenet-bc-100-12-3", "unknown network"),
        ("densenet-bc-99-12", "6n [+] 4 layers, not 99"),
        ("densenet-121-12", "121 layers is for ImageNet"),
        ("densenet-100", "121, 169, 201 or 264 layers for ImageNet, not 100; .* as in densenet-100-24"),
        ("darts-4x4", "5 or more, not 4"),
        ("sdarts-5x4", "groups of fewer than two layers"),
        ("sdarts-7", "6 layers share 1 to 6 templates, not 7"),
        ("darts-2", "unknown network"),
    ],
)
def test_invalid_names(name, message):
    with pytest.raises(UserError, match=message):
        zoo.named(name)


@pytest.mark.parametrize(
    ("name", "features", "message"),
    [
        ("darts", {"dropout_rate": 0.3}, "darts has no dropout_rate"),
        ("wrn-28-10", {"drop_path_rate": 0.2}, "wrn-28-10 has no drop_path_rate"),
        ("densenet-100-24", {"aux_loss_weight": 0.4}, "densenet-100-24 has no aux_loss_weight"),
    ],
)
def test_unsupported_options(name, features, message):
    with pytest.raises(UserError, match=message):
        zoo.named(name).build(zoo.Options(**features))


NARROW = (
    *(f"{genotype}-6x4" for genotype in ("nasnet-a", "amoebanet-b", "darts", "snas", "enas")),
    "resnext-29-2x4d",
    "densenet-10-6",
    "densenet-bc-16-6",
)


@pytest.mark.parametrize("name", NARROW)
def test_every_network_learns_unshared_and_shared_and_folds(name):
    # One compilation: sharing adds functions before and after the unshared network.
    network, random = zoo.named(name).build(zoo.Options()), np.random.default_rng(0)
    x, labels = random.normal(size=(2, 32, 32, 3)).astype(np.float32), np.arange(2)
    dense = drawn(jax.eval_shape(network.init, jax.random.key(0), x))

    @jax.jit
    def loss_and_gradient(dense):
        def loss(params):
            logits, _ = network.apply({**dense, "params": params}, x, train=True, mutable=["batch_stats"])
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        return jax.value_and_grad(loss)(dense["params"])

    def losses(variables, to_params, steps=8):
        """Returns the losses of sign gradient descent in NumPy."""
        found = []
        for _ in range(steps):
            params, back = jax.vjp(jax.jit(to_params), variables)
            loss, gradient = loss_and_gradient({**dense, "params": params})
            variables = jax.tree.map(lambda v, g: v - 0.003 * np.sign(g), variables, back(gradient)[0])
            found.append(float(loss))
        return found, variables

    found, _ = losses(dense["params"], lambda params: params)
    assert found[-1] < 0.8 * found[0]
    plan = zoo.named(f"s{name}-1").rule(dense["params"])
    shared = sharing.initialize(plan, dense["params"], jax.random.key(1), sharing.orthogonal)
    found, shared = losses(shared, lambda shared: sharing.to_dense(plan, shared)["params"])
    assert found[-1] < 0.8 * found[0]
    # With one template per group all its layers are parallel, so folding is lossless.
    folded = sharing.fold(plan, jax.device_get(shared), 0.9)
    distinct = sharing.distinct_layers(folded.plan, folded.variables)
    assert set(distinct) == {group.name for group in plan.groups}
    assert all(set(layers) == {0} for layers in distinct.values())
    before, after = (sharing.to_dense(*net) for net in ((plan, shared), folded))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), before, after)
