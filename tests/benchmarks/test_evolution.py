"""The benchmark of a deep network's layer similarity, from end to end."""

import re

from PIL import Image

from benchmarks.research import evolution
from tests import COMPILE_FAST


def test_both_networks_are_trained_folded_and_drawn(tmp_path, monkeypatch, capsys):
    small = {
        "model": "scnn-4-4",
        "batch_size": 4,
        "data.side": 8,
        "data.windows": (3, 5),
        "data.train_examples": 16,
        "data.test_examples": 8,
    }
    monkeypatch.setattr(evolution, "SETTINGS", {**evolution.SETTINGS, **small})
    monkeypatch.setattr(evolution, "PHASES", 2)
    monkeypatch.setenv("XLA_FLAGS", COMPILE_FAST)
    monkeypatch.setattr("sys.argv", ["evolution", f"--output={tmp_path}", "--phase=2"])
    evolution.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| SCNN")]
    assert [re.match(r"\| (\S+) \|", row)[1] for row in rows] == ["SCNN", "SCNN-R"]
    assert all(re.search(r"\| 4 -> [1-4] \|", row) for row in rows)
    with Image.open(tmp_path / "evolution-100.png") as picture:
        # Two rows of panels, and a column for each of several times.
        assert picture.width > picture.height > 100
    evolution.main()
    again = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| SCNN")]
    assert again == rows
