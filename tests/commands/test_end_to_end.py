"""Shrunk configs through the real commands: train, fold, evaluate, resume, report."""

import json
import re

import pytest

from softshare_jax.runs.records import read_metrics, similarity_files
from softshare_jax.runs.workdir import Workdir
from softshare_jax.sharing import Plan
from tests import tiny


def succeeds(command, *arguments):
    result = tiny.run(command, *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


@pytest.mark.parametrize("variant", ["cnn", "scnn", "scnn-r"])
def test_variants_of_shortest_paths(tmp_path, variant):
    model = "cnn-3-4" if variant == "cnn" else "scnn-3-4-2"
    config = f"--config=configs/shortest_paths.py:{variant}"
    form = {"per_channel": True, "rank": 1} if variant == "scnn-r" else {}
    changes = {f"sharing__{name}": value for name, value in form.items()}
    flags = tiny.flags(model=model, duration="8 steps", dtype="bfloat16", **changes)
    out = succeeds("main", config, *flags, f"--workdir={tmp_path}")
    assert "trained 8 steps" in out
    plan = Plan.from_json((tmp_path / "plan.json").read_text())
    assert [g.templates for g in plan.groups] == ([] if variant == "cnn" else [2])
    assert all(getattr(g, name) == value for g in plan.groups for name, value in form.items())


def test_the_steps_of_the_quickstart(tmp_path, trained):
    folded = tmp_path / "folded"
    out = succeeds("fold", f"--workdir={trained.root}", f"--output={folded}", "--threshold=0")
    certificate = json.loads((folded / "certificate.json").read_text())
    assert certificate["distinct_layers"]["after"] == 1
    assert certificate["loops"] == {"blocks": "(1)×4"}
    assert certificate["parameters"]["after"] < certificate["parameters"]["before"]
    assert f"{certificate['parameters']['after']:,}" in out
    assert "(1)×4" in out

    evaluated = succeeds("main", "--mode=evaluate", f"--workdir={folded}")
    score = float(re.findall(r"window 5x5 .* eval/f1 ([\d.]+)", evaluated)[0])
    assert score == pytest.approx(certificate["metric"]["after"], abs=1e-4)

    gone_on = succeeds(
        "main", f"--workdir={folded}", "--config=configs/quickstart.py", *tiny.flags(duration="24 steps")
    )
    assert "resuming from step 16 of 24" in gone_on
    again = tmp_path / "again"
    succeeds("fold", f"--workdir={folded}", f"--output={again}", "--threshold=1")
    # More training keeps the loop, and the records of the source run come first.
    assert json.loads((again / "certificate.json").read_text())["distinct_layers"] == {
        "before": 1,
        "after": 1,
    }
    steps = [json.loads(line)["step"] for line in (again / "metrics.jsonl").read_text().splitlines()]
    assert steps == [4, 8, 12, 16, 20, 24]

    assert str(folded / "report.html") in succeeds(
        "report", f"--workdir={folded}", f"--workdir={trained.root}"
    )


def test_fold_within_a_budget_and_at_a_step(tmp_path, trained):
    succeeds("fold", f"--workdir={trained.root}", f"--output={tmp_path / 'a'}", "--max_drop=100", "--step=12")
    certificate = json.loads((tmp_path / "a" / "certificate.json").read_text())
    assert (certificate["step"], certificate["distinct_layers"]["after"]) == (12, 1)
    # Its records end where it was folded.
    folded = Workdir(tmp_path / "a")
    assert max(record["step"] for record in read_metrics(folded.metrics_file)) == 12
    assert max(similarity_files(folded)) == 12 < max(similarity_files(trained))
    succeeds(
        "fold",
        f"--workdir={trained.root}",
        f"--output={tmp_path / 'b'}",
        "--max_drop=0",
        "--measure=coefficients",
    )
    certificate = json.loads((tmp_path / "b" / "certificate.json").read_text())
    assert certificate["metric"]["drop"] <= 0


def test_describe():
    description = json.loads(succeeds("describe", "scnn-20-32-4", "--json"))
    assert {
        "name",
        "parameters",
        "shared_parameters",
        "private_parameters",
        "flops_per_example",
        "groups",
    } <= set(description)
    assert description["groups"] == [
        {"name": "blocks", "layers": 20, "templates": 4, "shape": [3, 3, 32, 32]}
    ]
    assert f"{description['parameters']:,}" in succeeds("describe", "scnn-20-32-4")
