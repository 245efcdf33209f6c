"""The table of the curriculum benchmark, from records of runs."""

import json

from benchmarks import curriculum
from softshare_jax.runs.workdir import Workdir


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
