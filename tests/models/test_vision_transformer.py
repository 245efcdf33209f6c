"""Vision transformers against NumPy, their groups, and a training step without batch-norm."""

import jax
import numpy as np
import pytest

from softshare_jax.config import from_dict, recipes
from softshare_jax.description.description import describe
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.training.experiment import make_experiment


def count(depth, width, patch, classes=10, templates=None):
    """Returns the number of parameters."""
    matrices = 4 * width**2 + 2 * 4 * width**2
    biases = 4 * width + 4 * width + width
    norms = 2 * 2 * width
    outside = (patch**2 * 3 + 1) * width + (32 // patch) ** 2 * width + 2 * width + (width + 1) * classes
    kept = depth if templates is None else templates
    coefficients = 0 if templates is None else 6 * depth * templates
    return kept * matrices + coefficients + depth * (biases + norms) + outside


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vit-12-64-4", count(12, 64, 4)),
        ("svit-12-64-4", count(12, 64, 4, templates=12)),
        ("svit-12-64-4-4", count(12, 64, 4, templates=4)),
        ("svit-6-96-8-1", count(6, 96, 8, templates=1)),
    ],
)
def test_parameter_counts(name, expected):
    assert describe(name)["parameters"] == expected


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def norm(x, p):
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-6) * p["scale"] + p["bias"]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def by_hand(params, images, depth, patch):
    batch, side, _, _ = images.shape
    n = side // patch
    cut = images.reshape(batch, n, patch, n, patch, 3).transpose(0, 1, 3, 2, 4, 5)
    x = cut.reshape(batch, n, n, -1) @ params["patches"]["kernel"].reshape(patch * patch * 3, -1)
    x = (x + params["patches"]["bias"] + params["position"]).reshape(batch, n * n, -1)
    for i in range(depth):
        p = params[f"layer_{i}"]
        y, a = norm(x, p["norm_attention"]), p["attention"]
        q, k, v = (
            np.einsum("btc,chd->bhtd", y, a[name]["kernel"]) + a[name]["bias"][None, :, None]
            for name in ("query", "key", "value")
        )
        mixed = softmax(q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])) @ v
        x = x + np.einsum("bhtd,hdc->btc", mixed, a["out"]["kernel"]) + a["out"]["bias"]
        y = norm(x, p["norm_mlp"])
        up = gelu(y @ p["up"]["kernel"] + p["up"]["bias"])
        x = x + up @ p["down"]["kernel"] + p["down"]["bias"]
    x = norm(x, params["norm"]).mean(1)
    return x @ params["classifier"]["kernel"] + params["classifier"]["bias"]


def test_numerics():
    network = zoo.named("vit-2-64-8").build(zoo.Options())
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    params = jax.tree.map(
        lambda x: np.random.default_rng(x.size).normal(0, 0.2, x.shape).astype(np.float32),
        network.init(jax.random.key(0), images)["params"],
    )
    found = network.apply({"params": params}, images)
    np.testing.assert_allclose(found, by_hand(params, images, 2, 8), atol=2e-4, rtol=2e-4)


def test_six_groups_by_role():
    network = zoo.named("svit-3-32-8-2")
    shapes = jax.eval_shape(network.build(zoo.Options()).init, jax.random.key(0), np.zeros((1, 32, 32, 3)))
    groups = {group.name: group for group in network.rule(shapes["params"]).groups}
    assert list(groups) == ["query", "key", "value", "out", "up", "down"]
    assert all((group.layers, group.templates) == (3, 2) for group in groups.values())
    assert groups["out"].members[1].path == "layer_1/attention/out/kernel"


@pytest.mark.parametrize(("name", "message"), [("vit-2-48-4", "multiple of 32"), ("vit-2-32-5", "divide 32")])
def test_mistakes(name, message):
    with pytest.raises(UserError, match=message):
        zoo.named(name)


def test_a_training_step_without_statistics():
    values = recipes.vit("svit-2-32-8-1").to_dict()
    values |= {"batch_size": 4, "duration": "2 steps", "data": {"name": "cifar10", "train_examples": 8}}
    values["optimizer"]["warmup"] = ""
    experiment = make_experiment(from_dict(values))
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (8, 32, 32, 3), np.uint8), np.arange(8, dtype=np.int32)
    experiment.task.load = lambda split, phase: {"images": images, "labels": labels}
    programs = experiment.programs
    state = programs.init_state()
    before = jax.device_get(state.variables)
    assert set(before) == {"params", "templates", "coefficients"}
    fed = experiment.task.feed(experiment.batching, range(2)).at(0)
    state, metrics = programs.train_steps(state, programs.no_metrics(), fed, 1)
    assert np.isfinite(float(metrics.compute()["loss"]))
    for name, template in jax.device_get(state.variables)["templates"].items():
        assert np.abs(template - before["templates"][name]).max() > 0, name
