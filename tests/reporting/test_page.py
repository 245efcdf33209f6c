"""The page: what it says of several runs, of one, of a folded one, and how it is written."""

import email.message
import importlib.metadata
import json
import os
import re
import sys

import numpy as np
import pytest

from softshare_jax import report
from softshare_jax.errors import UserError
from softshare_jax.reporting.write import write_report
from softshare_jax.runs.workdir import Workdir
from softshare_jax.shell import cli
from tests.reporting.page import read_page


def test_page_of_several_runs(reported):
    page = read_page(reported["trained"])
    assert not reported["folded"].report_file.exists()
    assert page.headings == [
        "3 runs",
        page.headings[1],
        "Layer similarity",
        "How the layers came to resemble each other",
        "Folding, a preview",
        "Learning curves",
        "Test examples",
        "Parameters",
        "Config",
        page.headings[9],
        "Layer similarity",
        "Folded",
        "Certificate of the fold",
        "Test examples",
        "Parameters",
        "Config",
        page.headings[16],
        "Learning curves",
        "Test examples",
        "Parameters",
        "Config",
    ]
    assert page.levels == [1, 2, *[3] * 7, 2, *[3] * 6, 2, *[3] * 4]
    assert "What is missing" not in page.text
    assert "cnn-4-6, an unshared network" in page.text


def test_headline_states_the_result(reported):
    page = read_page(reported["trained"])
    metric = json.loads(reported["folded"].certificate_file.read_text())["metric"]
    before, after = (f"{metric[when]:.4f}" for when in ("before", "after"))
    # What a preview of a fold comes to depends on the weights.
    assert re.fullmatch(
        rf"4 layers (would fold to [123]|do not fold): F1 {before}, 1,385 parameters", page.headings[1]
    )
    assert page.headings[9] == f"4 layers became 1: 29% of the parameters, F1 {before} → {after}"
    assert re.fullmatch(r"F1 0\.\d{4}, 1,369 parameters", page.headings[16])


def test_folded_run_does_not_repeat_the_history_of_its_source(reported, copy):
    page = read_page(reported["trained"])
    assert "Up to step 16 the history of this network is in the report of its source." in page.text
    folded = copy("folded")
    write_report([folded])
    text = folded.report_file.read_text()
    assert "data-frames=" not in text
    assert "over steps" not in text
    # What it records after its fold is its own.
    lines = folded.metrics_file.read_text()
    folded.metrics_file.write_text(lines + '{"step": 20, "train/loss": 0.25, "eval/loss": 0.5}\n')
    write_report([folded])
    assert "Learning curves" in read_page(folded).headings
    titles = re.findall("<title>(training, step [^<]*)</title>", folded.report_file.read_text())
    assert titles == ["training, step 20: 0.25"]


def test_foot_says_what_was_run(reported, copy):
    workdir = copy("folded")
    write_report([workdir], command="python -m softshare_jax.report --workdir='a b'")
    page = read_page(workdir)
    config = workdir.read_config().flatten()
    assert f"Seed {config['seed']}, last written 20" in page.text
    assert re.search(r"by softshare_jax [\d.]+, jax [\d.]+, python [\d.]+\.", page.text)
    assert "python -m softshare_jax.report --workdir='a b'" in page.text
    for name, value in config.items():
        assert f"{name} {value}" in page.text or value == ""


def test_foot_links_to_the_documentation_of_the_package(tmp_path, monkeypatch):
    package = email.message.Message()
    package["Project-URL"] = "Source, https://source.example/"
    package["Project-URL"] = "Documentation, https://docs.example/"
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: package)
    workdir = Workdir(tmp_path)
    workdir.metrics_file.write_text('{"step": 1, "train/loss": 0.5}')
    write_report([workdir])
    assert '<a href="https://docs.example/">Documentation</a>' in workdir.report_file.read_text()


def test_summary_has_a_line_for_each_run(reported):
    page = read_page(reported["trained"])
    header, *lines = page.cells[:4]
    assert header == ["run", "model", "step", "F1", "time", "parameters", "distinct layers", "would fold to"]
    by_name = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    # 4 layers of 3x3x6x6 numbers and 16 coefficients; private: stem 18, norms 48, head 7.
    assert by_name["trained"]["parameters"] == f"{4 * 324 + 16 + 73:,}"
    assert by_name["folded"]["parameters"] == f"{324 + 4 + 73:,}"
    assert by_name["unshared"]["parameters"] == f"{4 * 324 + 73:,}"
    assert by_name["trained"]["distinct layers"] == "4"
    assert by_name["folded"]["distinct layers"] == "1"
    assert by_name["unshared"]["distinct layers"] == "–"
    assert {line["step"] for line in by_name.values()} == {"16"}
    assert all(re.fullmatch(r"[\d.]+ (s|min)", line["time"]) for line in by_name.values())
    certificate = json.loads(reported["folded"].certificate_file.read_text())
    assert by_name["folded"]["F1"] == f"{certificate['metric']['after']:.4f}"
    records = [json.loads(line) for line in reported["trained"].metrics_file.read_text().splitlines()]
    assert by_name["trained"]["F1"] == f"{records[-1]['target/f1']:.4f}"


def test_folded_run_shows_its_loop_and_its_certificate(reported):
    page = read_page(reported["trained"])
    assert "blocks runs as (1)×4" in page.text
    certificate = json.loads(reported["folded"].certificate_file.read_text())
    rows = {row[0]: row for row in page.cells if row}
    assert rows["distinct layers"][:3] == ["distinct layers", "4", "1"]
    assert rows["largest logit difference"][2] == f"{certificate['max_logit_difference']:.3g}"


def test_table_of_parameters_adds_up(reported):
    page = read_page(reported["trained"])
    rows = [row for row in page.cells if row[:1] == ["blocks"]]
    assert rows[0] == ["blocks", "3×3×6×6", "4", "4", "1,296", "16", "1,312", "1,296"]
    assert rows[1] == ["blocks", "3×3×6×6", "4", "1", "324", "4", "328", "1,296"]
    totals = [row[-2:] for row in page.cells if row[:1] == ["total"]]
    assert totals == [["1,385", "1,369"], ["401", "1,369"], ["1,369", "1,369"]]


def test_page_of_one_run_is_small_and_has_no_summary(copy):
    workdir = copy("unshared")
    write_report([workdir, workdir])
    page = read_page(workdir)
    assert page.text.split("What is")[0].count("cnn-4-6") == 2
    assert page.levels == [1, *[2] * 4]
    assert "summary" not in page.ids
    assert workdir.report_file.stat().st_size < 100_000
    assert not list(workdir.root.rglob("*.partial"))


def test_folders_without_a_run_are_left_alone(copy, tmp_path):
    run, other = copy("unshared"), Workdir(tmp_path / "other")
    other.root.mkdir()
    for content in (None, "report.html", "config.json"):
        if content:
            (other.root / content).write_text("{}")
        before = sorted(path.name for path in other.root.iterdir())
        for workdirs in ([other], [run, other]):
            with pytest.raises(UserError, match=f"workdir {other.root} holds no run to report on"):
                write_report(workdirs)
        assert sorted(path.name for path in other.root.iterdir()) == before
    assert (other.root / "report.html").read_text() == "{}"
    assert not run.report_file.exists()


def test_names_are_escaped(tmp_path):
    odd = Workdir(tmp_path / "<b>&amp;")
    odd.create()
    odd.metrics_file.write_text('{"step": 1, "train/loss": 0.5, "target/<i>&": 0.5}')
    odd.similarity.mkdir()
    for step in (1, 2):
        np.savez(odd.similarity / f"{step:08d}.npz", **{"weights/<u>&": np.eye(2), "<s>/<u>&": np.eye(2)})
    write_report([odd], command="<q>")
    page = read_page(odd)
    assert page.headings[0] == "<b>&amp;"
    assert "similarity of weights" in page.text
    assert not re.search("<[biusq]>", odd.report_file.read_text())
    assert {file.name for file in odd.figures.iterdir()} >= {"loss.svg", "similarity-u-weights.png"}


def test_missing_folder_is_not_made(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        write_report([Workdir(tmp_path / "none")])
    assert not (tmp_path / "none").exists()


def test_folder_that_cannot_be_written(tmp_path):
    # Root may write anywhere, so the way is blocked by a folder where the file would be.
    (tmp_path / "report.html").mkdir()
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/loss": 0.5}')
    with pytest.raises(UserError, match="cannot be written"):
        write_report([Workdir(tmp_path)])


def test_figures_folder_that_is_a_file(tmp_path):
    workdir = Workdir(tmp_path)
    workdir.metrics_file.write_text('{"step": 1, "train/loss": 0.5}')
    workdir.figures.write_text("")
    with pytest.raises(UserError, match="figures cannot be written"):
        write_report([workdir])


@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        (["--workdir=one"], 0, "the report is", ""),
        (["--workdir=none"], 2, "", "does not exist"),
        (["--workdir=docs"], 2, "", "holds no run"),
        ([], 2, "", "--workdir"),
    ],
)
def test_command(tmp_path, monkeypatch, capsys, arguments, code, out, err):
    for folder in ("one", "docs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "one" / "metrics.jsonl").write_text('{"step": 1, "train/loss": 0.5}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["report", *arguments])
    monkeypatch.setattr(os, "_exit", sys.exit)
    with pytest.raises(SystemExit) as stopped:
        cli.run(report.main)
    assert stopped.value.code == code
    said = capsys.readouterr()
    assert out in said.out
    assert err in said.err
    # What it does, and where the report is; a mistake is one line.
    assert len(said.out.splitlines()) == (3 if code == 0 else 0)
    assert len(said.err.splitlines()) == (0 if code == 0 else 1)
