import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax.description.description import describe
from softshare_jax.errors import UserError
from softshare_jax.models import bottleneck, densenet, zoo
from softshare_jax.models.bottleneck import Block, BottleneckResNet
from softshare_jax.models.densenet import DenseNet
from softshare_jax.models.initializers import he_normal, he_normal_fan_out, uniform_fan_in
from softshare_jax.models.layers import Layers
from softshare_jax.sharing import Member
from tests.models.networks import ByHand, images, randomized

# With 1000 classes.
PUBLISHED = {
    # torchvision's documentation.
    "resnet-50": 25_557_032,
    "resnet-101": 44_549_160,
    "resnet-152": 60_192_808,
    "wrn-50-2": 68_883_240,
    "wrn-101-2": 126_886_696,
    "resnext-50-32x4d": 25_028_904,
    "resnext-101-32x8d": 88_791_336,
    "resnext-101-64x4d": 83_455_272,
    "densenet-121": 7_978_856,
    "densenet-169": 14_149_480,
    "densenet-201": 20_013_928,
    # TensorFlow models, resnet_v1_200. The pre-activation network of that depth (He et al. 2016,
    # arXiv 1603.05027) has 64,666,280: its shortcuts have no batch-norm.
    "resnet-200": 64_673_832,
    # imgclsmob (pytorchcv): resnetbc14b, resnetbc26b and resnetbc38b.
    "resnet-14": 10_064_936,
    "resnet-26": 15_995_176,
    "resnet-38": 21_925_416,
    # Paper and poster say 33 M; the exact count is that of lucid's densenet_264.
    "densenet-264": 33_337_704,
}
SWRN_50_2_LAYERS = {
    f"stage_{i}_conv{j}": layers for i, layers in enumerate((2, 3, 5, 2), 1) for j in (1, 2, 3)
}


def shapes_of(name):
    network = zoo.named(name)
    unshared = network.build(zoo.Options(num_classes=1000))
    image = jax.ShapeDtypeStruct((1, *network.input_shape), jnp.float32)
    shapes = jax.eval_shape(unshared.init, jax.eval_shape(lambda: jax.random.key(0)), image)
    return network.rule(shapes["params"]), shapes["params"]


def size(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("name", "expected"), PUBLISHED.items())
def test_parameter_counts_are_those_published(name, expected):
    assert size(shapes_of(name)[1]) == expected


def test_no_depth_is_missing_in_the_table():
    named = {f"resnet-{depth}" for depth in bottleneck.BLOCKS}
    named |= {f"densenet-{depth}" for depth in densenet.BLOCKS}
    assert named <= set(PUBLISHED)
    assert {name.split("-")[0] for name in PUBLISHED} == {"resnet", "wrn", "resnext", "densenet"}


def kernel(i, j):
    """Returns the shape of a shared convolution of WRN 50-2."""
    inner, outer = 128 * 2 ** (i - 1), 256 * 2 ** (i - 1)
    return [(1, 1, outer, inner), (3, 3, inner, inner), (1, 1, inner, outer)][j - 1]


@pytest.mark.parametrize("templates", [None, 3])
def test_swrn_50_2_by_hand(templates):
    # Each stage has a group for each of a block's three convolutions. Block 0 is in none.
    description = describe("swrn-50-2" + (f"-{templates}" if templates else ""), num_classes=1000)
    expected, parameters = [], PUBLISHED["wrn-50-2"]
    for (name, layers), (i, j) in zip(
        SWRN_50_2_LAYERS.items(), ((i, j) for i in (1, 2, 3, 4) for j in (1, 2, 3)), strict=True
    ):
        k = min(templates or layers, layers)
        expected.append({"name": name, "layers": layers, "templates": k, "shape": list(kernel(i, j))})
        parameters += (k - layers) * math.prod(kernel(i, j)) + k * layers
    assert description["groups"] == expected
    assert description["parameters"] == parameters
    if templates is None:
        assert parameters == 68_883_240 + 3 * (2**2 + 3**2 + 5**2 + 2**2)
    assert description["flops_per_example"] > 2 * 10.5e9  # 11.4 billion multiplications, padding included


def test_members_are_the_rows_of_a_stage_and_the_layers_of_a_dense_block():
    group = next(g for g in shapes_of("sresnext-50-32x4d-2")[0].groups if g.name == "stage_3_conv2")
    assert group.members == tuple(Member("stage_3/blocks/conv2/kernel", row) for row in range(5))
    assert (group.templates, group.shape) == (2, (3, 3, 16, 512))
    plan, _ = shapes_of("sdensenet-121-8")
    assert [(g.layers, g.templates, g.shape) for g in plan.groups] == [
        (layers, min(8, layers), (3, 3, 128, 32)) for layers in (6, 12, 24, 16)
    ]
    assert plan.groups[1].members[10] == Member("block_2/layer_10/conv2/kernel")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet-51", "resnet-51: a resnet has 14, 26, 38, 50, 101, 152 or 200 layers, not 51"),
        ("densenet-120", "densenet-120: a densenet has 121, 169, 201 or 264 layers for ImageNet, not 120"),
        ("wrn-51-2", r"6n [+] 4 layers .*, not 51; for ImageNet it has 14, 26, .* or 200 layers"),
        ("resnet-50-2", "unknown network 'resnet-50-2'; did you mean"),
        ("wrn-50-2-2", "unknown network 'wrn-50-2-2'"),
        ("resnext-50-32x4", "unknown network 'resnext-50-32x4'; did you mean resnext-50-32x4d"),
        ("swrn-50-2-6", "5 layers share 1 to 5 templates, not 6"),
        ("swrn-50-2-0", "5 layers share 1 to 5 templates, not 0"),
        ("sresnet-26", "groups of fewer than two layers"),
    ],
)
def test_invalid_names(name, message):
    with pytest.raises(UserError, match=message):
        zoo.named(name)


def test_unsupported_options():
    for name, options in [
        ("wrn-50-2", zoo.Options(dropout_rate=0.3)),
        ("densenet-121", zoo.Options(dropout_rate=0.3)),
        ("densenet-121", zoo.Options(zero_init_residual=True)),
        ("wrn-28-10", zoo.Options(zero_init_residual=True)),
        ("cnn-4-8", zoo.Options(zero_init_residual=True)),
    ]:
        with pytest.raises(UserError, match=rf"config.\w+ is .*, and {name} has no"):
            zoo.named(name).build(options)


class BottleneckByHand(ByHand):
    """A bottleneck network in NumPy."""

    def __call__(self, x, groups):
        x = self.stem(x)
        for i in (1, 2, 3, 4):
            params, stats = (tree[f"stage_{i}"] for tree in (self.params, self.stats))
            x = self.bottleneck(x, params["block_0"], stats["block_0"], 1 if i == 1 else 2, groups)
            for row in range(len(params["blocks"]["conv1"]["kernel"]) if "blocks" in params else 0):
                of_row = (jax.tree.map(lambda a, r=row: a[r], tree["blocks"]) for tree in (params, stats))
                x = self.bottleneck(x, *of_row, 1, groups)
        return self.classify(x)

    def stem(self, x):
        x = self.conv(x, self.params["stem"]["kernel"], 2)
        x = self.norm_relu(x, self.params["stem_norm"], self.stats["stem_norm"])
        # 3x3, stride 2. After ReLU, zero padding does not change the maximum.
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        height, width = x.shape[1] // 2, x.shape[2] // 2
        windows = [
            padded[:, i : i + 2 * height : 2, j : j + 2 * width : 2] for i in range(3) for j in range(3)
        ]
        return np.max(windows, axis=0)

    def bottleneck(self, x, params, stats, stride, groups):
        def norm(y, name):
            # relu(z) - relu(-z) is z: the norm without its ReLU.
            p, s = params[name], stats[name]
            negated = jax.tree.map(np.negative, p)
            return self.norm_relu(y, p, s) - self.norm_relu(y, negated, s)

        y = self.norm_relu(self.conv(x, params["conv1"]["kernel"]), params["norm1"], stats["norm1"])
        parts = zip(
            np.split(y, groups, axis=-1), np.split(params["conv2"]["kernel"], groups, axis=-1), strict=True
        )
        y = np.concatenate([self.conv(part, taps, stride) for part, taps in parts], axis=-1)
        y = self.norm_relu(y, params["norm2"], stats["norm2"])
        y = norm(self.conv(y, params["conv3"]["kernel"]), "norm3")
        if "shortcut" in params:
            x = norm(self.conv(x, params["shortcut"]["kernel"], stride), "shortcut_norm")
        return np.maximum(x + y, 0)

    def classify(self, x):
        return x.mean((1, 2)) @ self.params["classifier"]["kernel"] + self.params["classifier"]["bias"]


class DenseByHand(BottleneckByHand):
    """A DenseNet in NumPy."""

    CONVOLUTIONS = ("1", "2")

    def __call__(self, x, blocks):
        x = self.stem(x)
        for i, layers in enumerate(blocks):
            if i:
                x = self.active(x, f"transition_{i}_norm")
                x = self.conv(x, self.params[f"transition_{i}"]["kernel"])
                x = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
            for j in range(layers):
                params, stats = (tree[f"block_{i + 1}"][f"layer_{j}"] for tree in (self.params, self.stats))
                y = x
                for k in self.CONVOLUTIONS:
                    y = self.norm_relu(y, params[f"norm{k}"], stats[f"norm{k}"])
                    y = self.conv(y, params[f"conv{k}"]["kernel"])
                x = np.concatenate([x, y], axis=-1)
        return self.classify(self.active(x, "norm"))

    def active(self, x, name):
        return self.norm_relu(x, self.params[name], self.stats[name])


class SmallDenseByHand(DenseByHand):
    """A DenseNet for small images, without bottlenecks."""

    CONVOLUTIONS = ("",)

    def stem(self, x):
        return self.conv(x, self.params["stem"]["kernel"])


@pytest.mark.parametrize(
    ("network", "by_hand", "arguments", "train"),
    [
        # Two more blocks in a stage, and two groups of channels.
        (BottleneckResNet((3, 1, 1, 1), 4, 2, 5, Layers(he_normal_fan_out)), BottleneckByHand, 2, False),
        (BottleneckResNet((1, 2, 1, 1), 3, 1, 5, Layers(he_normal_fan_out)), BottleneckByHand, 1, True),
        (DenseNet((2, 1, 1, 1), 32, 5, Layers(he_normal)), DenseByHand, (2, 1, 1, 1), False),
        (DenseNet((3, 2), 4, 5, Layers(he_normal), False, True), SmallDenseByHand, (3, 2), False),
    ],
    ids=["grouped", "training", "dense", "dense without bottlenecks"],
)
def test_networks_by_hand(network, by_hand, arguments, train):
    # With one pixel in the last stage, batch-norm would average only two numbers.
    x = images(2, side=64 if train else 32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)
    random = np.random.default_rng(0)
    # He normal, without a compilation for every shape.
    variables = randomized(
        jax.tree.map(
            lambda s: (random.normal(size=s.shape) * np.sqrt(2 / max(1, math.prod(s.shape[-4:-1])))).astype(
                np.float32
            ),
            shapes,
        )
    )
    expected = by_hand(variables, train)(x, arguments)
    assert np.std(expected) > 0.1
    out = jax.jit(lambda v: network.apply(v, x, train, mutable=["batch_stats"])[0])(variables)
    np.testing.assert_allclose(out, expected, atol=1e-4 * np.abs(expected).max())


def test_a_loop_changes_no_name_or_shape():
    x, key = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32), jax.eval_shape(lambda: jax.random.key(0))
    looped, unrolled = (
        BottleneckResNet((3, 1, 1, 1), 4, 2, 5, Layers(he_normal_fan_out), scan=scan)
        for scan in (True, False)
    )
    shapes = [jax.eval_shape(network.init, key, x) for network in (looped, unrolled)]
    assert shapes[0] == shapes[1]
    assert shapes[0]["params"]["stage_1"]["blocks"]["conv2"]["kernel"].shape == (2, 3, 3, 2, 4)


def test_blocks_may_start_as_their_shortcut():
    x = jnp.asarray(images(1, 2))
    block = Block(3, 2, 1, 1, zero_residual=True, layers=Layers(he_normal_fan_out))
    variables = block.init(jax.random.key(0), x, False)
    np.testing.assert_array_equal(block.apply(variables, x, False), np.maximum(x, 0))
    built = zoo.named("resnet-50").build(zoo.Options(zero_init_residual=True))
    assert isinstance(built, BottleneckResNet)
    assert built.zero_residual


def test_initializers():
    weights = he_normal_fan_out(jax.random.key(0), (3, 3, 16, 128))
    assert np.std(weights) == pytest.approx(np.sqrt(2 / (9 * 128)), rel=0.02)
    linear = uniform_fan_in(jax.random.key(0), (64, 500))
    assert np.abs(linear).max() == pytest.approx(1 / 8, rel=1e-3)
    assert np.std(linear) == pytest.approx(1 / 8 / np.sqrt(3), rel=0.02)
