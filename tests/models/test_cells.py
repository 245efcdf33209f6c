"""Networks of searched cells against a NumPy reference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax.models import zoo
from softshare_jax.models.cells.genotypes import GENOTYPES
from softshare_jax.models.dropout import DropPath
from tests.models.networks import ByHand, drawn, images, randomized


class CellsByHand:
    """A network of cells from its genotype: loops over nodes, taps and pixels."""

    def __init__(self, name, cells, variables):
        self.genotype, self.cells = GENOTYPES[name], cells
        self.params, self.stats = (jax.tree.map(np.asarray, variables[c]) for c in ("params", "batch_stats"))

    def __call__(self, x):
        x = before = self.norm(ByHand.conv(x, self.params["stem"]["kernel"]), "stem_norm")
        for i in range(self.cells):
            reduces = i in (self.cells // 3, 2 * self.cells // 3)
            before, x = x, self.cell(f"cell_{i}", before, x, reduces)
        x = x.mean((1, 2))
        return x @ self.params["classifier"]["kernel"] + self.params["classifier"]["bias"]

    def cell(self, name, before, x, reduces):
        halves = before.shape[1] > x.shape[1]
        states = [
            self.halve(before, f"{name}/input_0") if halves else self.unit(before, f"{name}/input_0", 1),
            self.unit(x, f"{name}/input_1", 1),
        ]
        if self.genotype.projects_twice:
            states[1] = self.unit(states[1], f"{name}/input_1_again", 1)
        description = self.genotype.reduction if reduces else self.genotype.normal
        for node, edges in enumerate(description.nodes):
            out = 0
            for side, (operation, source) in enumerate(edges):
                stride = 2 if reduces and source in (0, 1) else 1
                edge = f"{name}/edge_{2 * node + side}"
                out = out + self.operation(states[source], operation, stride, edge)
            states.append(out)
        return np.concatenate([states[i] for i in description.output], axis=-1)

    def operation(self, x, operation, stride, edge):
        if operation == "skip_connect":
            return self.halve(x, edge) if stride == 2 else x
        if "pool" in operation:
            return pool(x, operation, stride)
        if operation == "bottleneck_3x3":
            x = self.unit(self.unit(x, edge, 1), edge, 2, stride)
            return self.unit(x, edge, 3)
        x = self.unit(x, edge, 1, stride, 2 if operation.startswith("dil") else 1)
        if "sep_conv" in operation:
            x = self.unit(x, edge, 2, 1, 2 if operation.startswith("dil") else 1)
        return x

    def unit(self, x, place, number, stride=1, dilation=1):
        x, params = np.maximum(x, 0), self.at(self.params, place)
        if f"depthwise_{number}" in params:
            x = depthwise(x, params[f"depthwise_{number}"]["kernel"], stride, dilation)
            x = ByHand.conv(x, params[f"pointwise_{number}"]["kernel"])
        else:
            x = ByHand.conv(x, params[f"conv_{number}"]["kernel"], stride)
        return self.norm(x, f"{place}/norm_{number}")

    def halve(self, x, place):
        x, params = np.maximum(x, 0), self.at(self.params, place)
        even = x[:, ::2, ::2] @ params["even"]["kernel"][0, 0]
        odd = x[:, 1::2, 1::2] @ params["odd"]["kernel"][0, 0]
        return self.norm(np.concatenate([even, odd], axis=-1), f"{place}/norm")

    def norm(self, x, place):
        params, stats = self.at(self.params, place), self.at(self.stats, place)
        return (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * params["scale"] + params["bias"]

    @staticmethod
    def at(tree, place):
        for part in place.split("/"):
            tree = tree[part]
        return tree


def depthwise(x, kernel, stride, dilation):
    size, pad = len(kernel), dilation * (len(kernel) // 2)
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    out = 0
    for i in range(size):
        for j in range(size):
            tap = padded[:, i * dilation :, j * dilation :][:, : x.shape[1] : stride, : x.shape[2] : stride]
            out = out + tap * kernel[i, j, 0]
    return out


def pool(x, operation, stride):
    """Pools; pixels beyond the border do not count."""
    size = int(operation[-1])
    around = range(-1, 2) if size == 3 else range(2)
    out = np.zeros((len(x), x.shape[1] // stride, x.shape[2] // stride, x.shape[3]), np.float32)
    for row in range(out.shape[1]):
        for column in range(out.shape[2]):
            rows = [r for r in (stride * row + d for d in around) if 0 <= r < x.shape[1]]
            columns = [c for c in (stride * column + d for d in around) if 0 <= c < x.shape[2]]
            seen = x[:, rows][:, :, columns]
            out[:, row, column] = seen.max((1, 2)) if "max" in operation else seen.mean((1, 2))
    return out


@pytest.mark.parametrize("name", GENOTYPES)
def test_by_hand(name):
    network, x = zoo.named(f"{name}-5x4").build(zoo.Options(num_classes=5)), images(2)
    variables = randomized(drawn(jax.eval_shape(network.init, jax.random.key(0), x)))
    expected = CellsByHand(name, 5, variables)(x)
    assert np.std(expected) > 0.1
    out = jax.jit(network.apply)(variables, x)
    np.testing.assert_allclose(out, expected, atol=1e-4 * np.abs(expected).max())


def test_genotypes_use_all_they_compute():
    # A node that no edge reads and the output omits would be dead weight. Inputs may be unused.
    for name, genotype in GENOTYPES.items():
        for cell in (genotype.normal, genotype.reduction):
            read = {source for edges in cell.nodes for _, source in edges}
            assert set(range(2, 2 + len(cell.nodes))) <= read | set(cell.output), name
            for node, edges in enumerate(cell.nodes):
                assert all(source < 2 + node for _, source in edges), name


def test_auxiliary_head():
    network, x = zoo.named("darts-5x4").build(zoo.Options(num_classes=5, aux_loss_weight=0.4)), images(2)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)
    assert set(shapes) == {"params", "batch_stats"}
    head = jax.tree.map(np.shape, shapes["params"]["auxiliary"])
    # The last third of the cells outputs four times 16 channels.
    assert head["conv_1"]["kernel"] == (1, 1, 64, 128)
    assert head["conv_2"]["kernel"] == (2, 2, 128, 768)
    assert head["classifier"]["kernel"] == (768, 5)
    # The head only runs in training.
    for train in (False, True):
        collections = ["batch_stats", "intermediates"]
        apply = functools.partial(network.apply, train=train, mutable=collections)
        _, updated = jax.eval_shape(apply, shapes, x)
        assert ("auxiliary_logits" in updated.get("intermediates", {})) is train


def test_drop_path_drops_examples_as_a_whole():
    x, key = jnp.ones((1000, 2, 3)), jax.random.key(3)
    out = np.asarray(DropPath().apply({}, x, True, jnp.float32(0.2), rngs={"dropout": key}))
    kept = out[:, 0, 0] > 0
    assert 0.75 < kept.mean() < 0.85
    np.testing.assert_allclose(out, np.where(kept[:, None, None], 1 / 0.8, 0) * np.ones_like(out), rtol=1e-6)
    # The first half of the batch alone has the same masks.
    part = DropPath().apply({}, x[:500], True, jnp.float32(0.2), rngs={"dropout": key})
    np.testing.assert_array_equal(part, out[:500])
    for train, rate in ((True, 0.0), (False, 0.5)):
        assert DropPath().apply({}, x, train, rate) is x
