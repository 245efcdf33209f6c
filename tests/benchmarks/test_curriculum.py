"""The curriculum benchmark: a small one from end to end, and its table from records of runs."""

import json
import re

from PIL import Image

from benchmarks.research import curriculum
from softshare_jax.runs.workdir import Workdir
from tests import COMPILE_FAST


def run(folder, scores):
    folder.mkdir()
    lines = (json.dumps({"step": 10 * at, "eval/f1": score}) for at, score in enumerate(scores, start=1))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return Workdir(folder)


def test_means_of_phases_and_of_the_end_over_seeds(tmp_path):
    # Two phases of 50 steps, measured every 10 steps; the first two measurements are adaptation.
    scale = curriculum.SCALES["laptop"]._replace(windows=(5, 7), phase=50, every=10, adapting=2)
    first = run(tmp_path / "cnn-0", [0.1, 0.3, 0.9, 0.9, 0.9, 0.0, 0.4, 0.5, 0.7, 0.8])
    second = run(tmp_path / "cnn-1", [0.3, 0.5, 0.9, 0.9, 0.9, 0.2, 0.6, 0.7, 0.9, 1.0])
    *_, row = curriculum.table(scale, {"cnn": [first, second]}).splitlines()
    # The end is the mean of the last four measurements, 0.6 and 0.8.
    assert row == "| CNN | 0.300 ± 0.141 | 0.300 ± 0.141 | 0.700 ± 0.141 | – |"


TINY = curriculum.Scale(
    network="cnn-4-4",
    windows=(3, 5),
    phase=8,
    every=2,
    adapting=2,
    beyond=((16, 31), (20, 5)),
    settings={
        "batch_size": 4,
        "data.train_examples": 16,
        "data.test_examples": 8,
        "checkpoint_every": "8 steps",
    },
)


def test_a_small_curriculum_from_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(curriculum.SCALES, "laptop", TINY)
    monkeypatch.setenv("XLA_FLAGS", COMPILE_FAST)
    monkeypatch.setattr("sys.argv", ["curriculum", f"--output={tmp_path}", "--seeds=1", "--examples=5"])
    curriculum.main()
    printed = capsys.readouterr().out
    for name, columns in {"table.md": 5, "beyond.md": 3}.items():
        written = (tmp_path / name).read_text()
        assert written in printed
        head, _, *rows = written.splitlines()
        assert head.count("|") == columns + 1
        assert [re.match(r"\| (\S+) ", row)[1] for row in rows] == ["CNN", "SCNN", "SCNN-R"]
        scores = [float(number) for row in rows for number in re.findall(r"\d\.\d{3}", row)]
        assert all(0 <= score <= 1 for score in scores)
    for name in ("curriculum.png", "curriculum-similarity.png"):
        Image.open(tmp_path / name).verify()
