"""The benchmark of language models."""

import argparse
import itertools
import math

import numpy as np
import pytest

from benchmarks.research import comparison, language
from softshare_jax.errors import UserError

ARGUMENTS = argparse.Namespace(length=4, batch_size=2)


class Bigrams:
    """Knows how often each byte follows each other one: its variables are logits ``[256, 256]``."""

    def apply(self, variables, tokens):
        return variables[tokens]


def test_bits_per_byte():
    uniform = language.bits_per_byte(Bigrams(), np.zeros((256, 256)), np.arange(99) % 7, ARGUMENTS)
    assert uniform == pytest.approx(8)
    random = np.random.default_rng(0)
    logits, text = random.normal(size=(256, 256)), random.integers(0, 256, 4 * 5 + 3).astype(np.uint8)
    # Five pieces of four bytes are scored, each with the byte after it; the rest is left out.
    bits = [
        math.log2(np.exp(logits[now]).sum()) - logits[now][after] / math.log(2)
        for now, after in itertools.pairwise(text[:21])
    ]
    found = language.bits_per_byte(Bigrams(), logits, text, ARGUMENTS)
    assert found == pytest.approx(np.mean(bits), abs=1e-5)


def test_files_that_are_held_out_are_not_trained_on():
    text = language.standard_library()
    assert len(text.held_out) == language.SCORED
    assert len(text.train) > 10 * len(text.held_out)
    pieces = text.held_out[: 50 * 200].reshape(-1, 200)
    everything = text.train.tobytes()
    found = sum(piece.tobytes() in everything for piece in pieces)
    # Licenses and other passages of two files may be the same.
    assert found < len(pieces) / 10


def test_networks_train_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(language, "SCORED", 500)
    sizes = ("--layers=3", "--width=32", "--length=8", "--batch_size=2", "--steps=3", "--seeds=1")
    names = ("unshared", "k = L/3")
    monkeypatch.setattr("sys.argv", ["language", f"--output={tmp_path}", *sizes, "--networks", *names])
    language.main()
    unshared, shared = comparison.read(tmp_path / "rows.jsonl")
    # A layer has 12 weights of the square of its width, and six coefficients.
    assert unshared["parameters"] - shared["parameters"] == 2 * 12 * 32**2 - 3 * 6
    assert shared["loops"] == dict.fromkeys((*language.READS, *language.WRITES), "(1)×3")
    assert (tmp_path / "similarity-kL3.svg").exists()
    assert unshared["bits_per_byte"] == pytest.approx(8, abs=1)
    file = tmp_path / "rows.jsonl"
    written = file.stat().st_mtime_ns
    capsys.readouterr()
    language.main()
    assert file.stat().st_mtime_ns == written
    assert "| k = L/3 |" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["language", f"--output={tmp_path}", "--steps=4"])
    with pytest.raises(UserError, match=r"rows\.jsonl has rows with steps 3, not 4: name another --output$"):
        language.main()
