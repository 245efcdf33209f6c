"""The benchmark of vision transformers, from end to end."""

import pytest

from benchmarks.research import comparison, vit
from tests import COMPILE_FAST
from tests.cifar import fake, write_directory


def test_networks_train_once(tmp_path, monkeypatch, capsys):
    write_directory(fake("cifar10", train=20, test=10), tmp_path / "data")
    monkeypatch.setenv("XLA_FLAGS", COMPILE_FAST)
    flags = ["--epochs=1", "--train_examples=20", "--batch_size=4", "--seeds=1", "--jobs=2"]
    networks = ["vit-2-32-16", "svit-2-32-16-1"]
    folders = [f"--output={tmp_path / 'runs'}", f"--data_dir={tmp_path / 'data'}"]
    monkeypatch.setattr("sys.argv", ["vit", *folders, *flags, "--networks", *networks])
    vit.main()
    file = tmp_path / "runs" / "rows.jsonl"
    unshared, shared = comparison.read(file)
    assert [row["network"] for row in (unshared, shared)] == networks
    # A layer has 12 weights of the square of its width; a group of two layers has two coefficients.
    assert unshared["parameters"] - shared["parameters"] == 12 * 32**2 - 6 * 2
    assert set(shared["loops"].values()) == {"(1)×2"}
    assert all(
        0 <= row["test_error"] <= 100 and (row["batch_size"], row["dtype"]) == (4, "float32")
        for row in (unshared, shared)
    )
    written = file.stat().st_mtime_ns
    capsys.readouterr()
    vit.main()
    assert file.stat().st_mtime_ns == written
    assert "| svit-2-32-16-1 |" in capsys.readouterr().out


def test_networks_of_the_table_have_the_parameters_that_it_compares():
    # Norms and biases are not shared.
    sizes = {name: vit.parameters(name).total for name in vit.NETWORKS}
    assert sizes["vit-4-64-4"] == pytest.approx(sizes["svit-12-64-4-4"], rel=0.05)
    assert sizes["svit-12-96-4-5"] == pytest.approx(sizes["vit-12-64-4"], rel=0.05)
