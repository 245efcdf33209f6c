"""What the benchmark of loops that run longer trains, and which flags it refuses."""

import json

import pytest

from benchmarks.research import comparison, extrapolation
from benchmarks.research.extrapolation import Row, best_seed
from benchmarks.research.extrapolation_runs import TASKS, Recipe, train
from softshare_jax.errors import UserError


def test_durations_keep_their_ratio_to_the_steps_and_the_discovery_stays():
    recipe = Recipe(TASKS["mazes"], 32, 4500, ("--config.batch_size=64", "--config.loop.window=30"))
    loop, discovery = (recipe.flags(variant, seed=3) for variant in ("loop", "discover"))
    for flag in ("model=sgated4-20-32", "seed=3", "duration=4500 steps", "data.phase=125 steps"):
        assert f"--config.{flag}" in loop
    assert "--config.duration=300 steps" in discovery
    assert {"--config.data.generator=maze", "--config.batch_size=64"} <= {*loop} & {*discovery}
    # A flag comes after the field of the task, and wins.
    assert loop.index("--config.loop.window=40") < loop.index("--config.loop.window=30")
    assert "--config.model=gated4-20-32" in recipe.flags("cnn", 0)


def test_the_loop_with_the_lowest_loss_at_the_end_of_training_counts(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(comparison, "run", lambda module, *flags: commands.append(flags))
    # One record is as good as none; the second loop is the best over the last ten.
    for name, losses in {
        "loop-1": [1] + [0.3] * 9 + [0.1],
        "loop-1-1": [9] + [0.2] * 10,
        "loop-1-2": [2] * 20,
    }.items():
        (tmp_path / name).mkdir()
        records = [{"step": step, "train/loss": loss} for step, loss in enumerate(losses)]
        text = "".join(json.dumps(record) + "\n" for record in (*records, {"step": 99, "eval/loss": 0.0}))
        (tmp_path / name / "metrics.jsonl").write_text(text)
    workdir = train(tmp_path, "loop", 1, Recipe(TASKS["grids"], 24, 900, loops=3))
    assert workdir.root == tmp_path / "loop-1-1"
    assert [
        f"--config.seed={seed}" in flags for seed, flags in zip((1, 1001, 2001), commands, strict=True)
    ] == [True] * 3


def test_rows_of_other_examples_are_refused(tmp_path, monkeypatch):
    row = {**Row("cnn", 0, 12, 23, 20, 0.9, 0.5)._asdict(), "examples": 100, "loops": 1}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.setattr("sys.argv", ["extrapolation", f"--output={tmp_path}", "--examples=30"])
    with pytest.raises(UserError, match="has rows with examples 100, not 30: name another --output"):
        extrapolation.main()


def test_the_animation_shows_the_best_loop_at_home():
    rows = [
        Row("loop", 0, 12, 23, 68, 0.97, 0.8),
        Row("loop", 1, 12, 23, 68, 0.98, 0.9),
        Row("loop", 0, 64, 127, 68, 0.9, 0.1),
        Row("loop", 0, 12, 23, 680, 0.99, 0.9),
        Row("cnn", 2, 12, 23, 68, 0.99, 0.9),
    ]
    assert best_seed(rows, TASKS["grids"]) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--stepz=3"], "unrecognized arguments: --stepz=3"),
        (["--config.seed=3"], "the benchmark sets these fields by itself: --config.seed=3"),
        (["--task=mazes", "--config.data.side=11"], "sets these fields by itself: --config.data.side=11"),
        (["--steps=0"], "'0' is not a whole number of at least 1"),
    ],
)
def test_mistakes(monkeypatch, capsys, flags, message):
    monkeypatch.setattr("sys.argv", ["extrapolation", *flags])
    with pytest.raises(SystemExit):
        extrapolation.main()
    assert message in capsys.readouterr().err
