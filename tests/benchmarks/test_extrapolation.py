"""What the benchmark of loops that run longer trains, and which flags it refuses."""

import pytest

from benchmarks.research import extrapolation
from benchmarks.research.extrapolation import Row, best_seed
from benchmarks.research.extrapolation_runs import TASKS, Recipe


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
