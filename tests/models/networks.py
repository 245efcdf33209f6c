"""Inputs, variables and a NumPy reference for tests of networks."""

import jax
import jax.numpy as jnp
import numpy as np


def images(number, side=8, seed=0):
    return np.random.default_rng(seed).normal(size=(number, side, side, 3)).astype(np.float32)


def randomized(variables, seed=0):
    """Returns variables with random norms: scales, biases and running statistics."""
    random = np.random.default_rng(seed)

    def draw(path, leaf):
        low, high = {"var": (0.5, 2), "scale": (0.5, 1.5)}.get(path[-1].key, (-0.5, 0.5))
        norm = path[-1].key in ("mean", "var", "scale", "bias")
        return jnp.asarray(random.uniform(low, high, leaf.shape), jnp.float32) if norm else leaf

    return jax.tree_util.tree_map_with_path(draw, variables)


def drawn(shapes, seed=0):
    """Returns initial variables, drawn without compilation."""
    random = np.random.default_rng(seed)

    def draw(path, leaf):
        if path[-1].key in ("scale", "var"):
            return np.ones(leaf.shape, np.float32)
        if path[-1].key in ("bias", "mean"):
            return np.zeros(leaf.shape, np.float32)
        scale = np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return random.normal(scale=scale, size=leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


class ByHand:
    """A wide ResNetin NumPy: loops over blocks and kernel taps."""

    def __init__(self, variables, train=False):
        self.params, self.stats = (jax.tree.map(np.asarray, variables[c]) for c in ("params", "batch_stats"))
        self.train = train

    def __call__(self, x):
        x = self.conv(x, self.params["stem"]["kernel"])
        for i in (1, 2, 3):
            params, stats = (tree[f"stage_{i}"] for tree in (self.params, self.stats))
            x = self.block(x, params["block_0"], stats["block_0"], stride=1 if i == 1 else 2)
            for row in range(len(params["blocks"]["conv1"]["kernel"]) if "blocks" in params else 0):
                of_row = (jax.tree.map(lambda a, r=row: a[r], tree["blocks"]) for tree in (params, stats))
                x = self.block(x, *of_row, stride=1)
        x = self.norm_relu(x, self.params["norm"], self.stats["norm"]).mean((1, 2))
        return x @ self.params["classifier"]["kernel"] + self.params["classifier"]["bias"]

    def block(self, x, params, stats, stride):
        active = self.norm_relu(x, params["norm1"], stats["norm1"])
        y = self.conv(active, params["conv1"]["kernel"], stride)
        y = self.norm_relu(y, params["norm2"], stats["norm2"])
        y = self.conv(y, params["conv2"]["kernel"])
        return y + (self.conv(active, params["shortcut"]["kernel"], stride) if "shortcut" in params else x)

    def norm_relu(self, x, params, stats):
        mean, var = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if self.train else (stats["mean"], stats["var"])
        return np.maximum((x - mean) / np.sqrt(var + 1e-5) * params["scale"] + params["bias"], 0)

    @staticmethod
    def conv(x, kernel, stride=1):
        """Pads as PyTorch does: one pixel on all four sides for 3x3, none for 1x1, at any stride."""
        size, pad = len(kernel), len(kernel) // 2
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        height, width = ((n + 2 * pad - size) // stride + 1 for n in x.shape[1:3])
        out = 0
        for i in range(size):
            for j in range(size):
                rows = slice(i, i + stride * (height - 1) + 1, stride)
                columns = slice(j, j + stride * (width - 1) + 1, stride)
                out = out + padded[:, rows, columns] @ kernel[i, j]
        return out
