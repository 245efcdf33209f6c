"""The benchmark of early folds, from end to end."""

from benchmarks.research import comparison, early_fold
from tests import COMPILE_FAST


def test_a_fold_in_the_middle_and_at_the_end(tmp_path, monkeypatch, capsys):
    fields = {
        "model": "scnn-4-4",
        "batch_size": 4,
        "data.side": 8,
        "data.windows": (3,),
        "data.train_examples": 16,
        "data.test_examples": 8,
        "evaluate_every": "2 steps",
        "checkpoint_every": "4 steps",
    }
    task = early_fold.Task("shortest_paths:scnn-r", steps=8, score="eval/f1", scores=2, fields=fields)
    monkeypatch.setitem(early_fold.TASKS, "grids", task)
    monkeypatch.setattr(early_fold, "PERCENT", (50, 100))
    monkeypatch.setenv("XLA_FLAGS", COMPILE_FAST)
    monkeypatch.setattr("sys.argv", ["early_fold", f"--output={tmp_path}", "--seeds=1"])
    early_fold.main()
    middle, last = comparison.read(tmp_path / "rows.jsonl")
    assert (middle["percent"], last["percent"]) == (50, 100)
    assert middle["whole"] == last["whole"]
    # The last checkpoint is folded and not trained further.
    assert last["end"] == last["whole"] + last["after_fold"] - last["before_fold"]
    assert middle["distinct_layers"] in range(1, 5)
    *_, first_line, second_line = (tmp_path / "table.md").read_text().splitlines()
    assert first_line.startswith(f"| 50% | {middle['distinct_layers']} | {middle['before_fold']:.4f} -> ")
    assert second_line.startswith(f"| 100% | {last['distinct_layers']} |")
    assert first_line in capsys.readouterr().out
