"""The report: what is on the page, what is in the figures folder, and what is said to be missing."""

import dataclasses
import io
import json
import os
import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from softshare_jax import report, sharing
from softshare_jax.conversion.folding import fold_run
from softshare_jax.errors import UserError
from softshare_jax.reporting import animation, curves, diagram, examples, figures, matrices, tables
from softshare_jax.reporting.collect import collect
from softshare_jax.reporting.picture import draw
from softshare_jax.reporting.theme import DARK, LIGHT
from softshare_jax.reporting.write import write_report
from softshare_jax.runs.workdir import Workdir
from softshare_jax.shell import cli
from tests.reporting.page import read_page


@pytest.fixture(scope="module")
def runs(trained, unshared, tmp_path_factory) -> dict[str, Workdir]:
    """A trained run, its fold and an unshared run; tests copy them before they write."""
    folded = Workdir(tmp_path_factory.mktemp("runs") / "folded")
    fold_run(trained, folded, threshold=0.0)
    return {"trained": trained, "folded": folded, "unshared": unshared}


@pytest.fixture
def copy(runs, tmp_path):
    """Copies one of the runs; what is written stays in the test."""

    def copied(name: str) -> Workdir:
        shutil.copytree(runs[name].root, tmp_path / name)
        return Workdir(tmp_path / name)

    return copied


@pytest.fixture(scope="module")
def reported(runs, tmp_path_factory) -> dict[str, Workdir]:
    """All three runs in one report, which lies in ``trained``."""
    root = tmp_path_factory.mktemp("reported")
    copies = {name: Workdir(shutil.copytree(run.root, root / name)) for name, run in runs.items()}
    assert write_report(list(copies.values())) == copies["trained"].report_file
    return copies


def test_page_of_several_runs(reported):
    page = read_page(reported["trained"])
    assert not reported["folded"].report_file.exists()
    assert page.headings == [
        "3 runs",
        "trained",
        "Folding, a preview",
        "Layer similarity",
        "How the layers came to resemble each other",
        "Learning curves",
        "Test examples",
        "Parameters",
        "folded",
        "Folded",
        "Certificate of the fold",
        "Layer similarity",
        "How the layers came to resemble each other",
        "Learning curves",
        "Test examples",
        "Parameters",
        "unshared",
        "Learning curves",
        "Test examples",
        "Parameters",
    ]
    assert "What is missing" not in page.text
    assert "cnn-4-6, an unshared network" in page.text


def test_summary_has_a_line_for_each_run(reported):
    page = read_page(reported["trained"])
    header, *lines = page.cells[:4]
    assert header == ["run", "model", "step", "f1", "time", "parameters", "distinct layers", "would fold to"]
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
    assert by_name["folded"]["f1"] == f"{certificate['metric']['after']:.4f}"
    records = [json.loads(line) for line in reported["trained"].metrics_file.read_text().splitlines()]
    assert by_name["trained"]["f1"] == f"{records[-1]['target/f1']:.4f}"


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


def test_figures_are_written_into_each_workdir(reported):
    of_any = {"loss.png", "f1.png", "examples-long.png", "examples-errors.png"}
    of_group = {
        "folding-blocks.png",
        "similarity-blocks-coefficients.png",
        "similarity-blocks-weights.png",
        "evolution-blocks.png",
        "evolution-blocks.gif",
    }
    for name, expected in [
        ("trained", of_any | of_group),
        ("folded", of_any | of_group),
        ("unshared", of_any),
    ]:
        files = sorted(reported[name].figures.iterdir())
        assert {file.name for file in files} == expected
        for file in files:
            with Image.open(file) as image:
                image.load()
                assert image.format.lower() == file.suffix[1:]
                assert min(image.size) > 100
    with Image.open(reported["trained"].figures / "evolution-blocks.gif") as image:
        assert image.n_frames == 5  # steps 0, 4, 8, 12 and 16


def test_page_of_one_run_is_small_and_has_no_summary(copy):
    workdir = copy("unshared")
    write_report([workdir, workdir])
    page = read_page(workdir)
    assert page.headings[0] == "unshared"
    assert "summary" not in page.ids
    assert workdir.report_file.stat().st_size < 1_000_000
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


def _damage_checkpoints(workdir: Workdir, steps: str = "*") -> None:
    """Makes the checksums wrong."""
    for file in workdir.checkpoints.glob(f"{steps}/seal/metadata"):
        file.write_text('{"variables": "0", "optimizer": "0"}')


def _write_garbage(workdir: Workdir) -> None:
    for file in workdir.similarity.iterdir():
        file.write_bytes(b"no zip file")
    workdir.metrics_file.write_bytes(b"\xff\xfe\n")
    workdir.certificate_file.write_text('{"parameters": 3}')


@pytest.mark.parametrize(
    ("damage", "sentences", "absent"),
    [
        (lambda w: w.metrics_file.unlink(), ["No metrics:"], ["Learning curves"]),
        (
            lambda w: shutil.rmtree(w.checkpoints),
            ["No checkpoint:", "train first"],
            ["Folding, a preview", "Test examples"],
        ),
        (
            _damage_checkpoints,
            ["Checkpoint 16 is damaged", "Checkpoint 12 is damaged", "can be read"],
            ["Folding, a preview", "Test examples"],
        ),
        (
            lambda w: shutil.rmtree(w.similarity),
            ["No similarity history:"],
            ["How the layers came to resemble each other"],
        ),
        (
            lambda w: w.plan_file.unlink(),
            ["No plan:", "The checkpoints cannot be read"],
            ["Folding, a preview", "Test examples", "Parameters"],
        ),
        (
            lambda w: w.config_file.unlink(),
            ["No config:", "The checkpoints cannot be read"],
            ["Folding, a preview", "Test examples", "Parameters"],
        ),
        (
            lambda w: w.config_file.write_text("{"),
            ["No config:", "is not JSON"],
            ["Folding, a preview", "Test examples", "Parameters"],
        ),
        (
            _write_garbage,
            ["No metrics:", "No similarity history:", "No certificate:"],
            ["Learning curves", "How the layers came to resemble each other", "Certificate of the fold"],
        ),
    ],
    ids=["metrics", "checkpoints", "damaged", "similarity", "plan", "config", "json", "garbage"],
)
def test_what_is_missing_is_named_and_the_rest_shown(copy, damage, sentences, absent):
    workdir = copy("trained")
    damage(workdir)
    write_report([workdir])
    page = read_page(workdir)
    expected = [
        "trained",
        "What is missing",
        "Folding, a preview",
        "Layer similarity",
        "How the layers came to resemble each other",
        "Learning curves",
        "Test examples",
        "Parameters",
    ]
    assert page.headings == [heading for heading in expected if heading not in absent]
    for sentence in sentences:
        assert sentence in page.text


def test_one_damaged_checkpoint_is_passed_over(copy, capsys):
    workdir = copy("trained")
    _damage_checkpoints(workdir, "16")
    write_report([workdir])
    page = read_page(workdir)
    assert "Checkpoint 16 is damaged" in page.text
    assert "step 12 of 16" in page.text
    assert "Test examples" in page.headings
    assert "damaged" not in capsys.readouterr().out


def test_names_are_escaped(tmp_path):
    odd = Workdir(tmp_path / "<b>&amp;")
    odd.create()
    odd.metrics_file.write_text('{"step": 1, "train/loss": 0.5}')
    write_report([odd])
    assert read_page(odd).headings[0] == "<b>&amp;"


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
    assert len((said.out + said.err).splitlines()) == 1


def test_layout_of_nested_loops():
    steps = sharing.find_loops([0, 1, 2, 2, 1, 2, 2, 3])
    assert sharing.format_loops(steps) == "1 (2 (3)×2)×2 4"
    layout = diagram.lay_out(steps)
    assert [(box.layer, box.column, box.again) for box in layout.boxes] == [
        (0, 0, False),
        (1, 1, False),
        (2, 2, False),
        (3, 3, False),
    ]
    assert layout.brackets == (
        diagram.Bracket(line=0, first=2, last=2, level=1, times=2),
        diagram.Bracket(line=0, first=1, last=2, level=2, times=2),
    )
    assert layout.levels == (2,)


def test_layout_breaks_lines_between_steps_never_in_a_loop():
    loop = sharing.Loop((2, 3, 4), 2)
    layout = diagram.lay_out((0, 1, loop, 0), columns=4)
    assert [(box.line, box.column) for box in layout.boxes] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        (1, 2),
        (1, 3),
    ]
    assert [box.again for box in layout.boxes] == [False] * 5 + [True]
    assert layout.levels == (0, 1)
    wide = diagram.lay_out((sharing.Loop(tuple(range(6)), 2),), columns=4)
    assert wide.columns == 6
    assert diagram.lay_out(()).levels == ()


@pytest.mark.parametrize(
    ("after", "labels"),
    [
        (
            (0,) * 40,
            ["before: 40 layers, each", "after: 40 layers, 1 distinct weight", "after, written as loops"],
        ),
        (tuple(range(40)), ["before and after: 40 layers, each with a weight of its own"]),
        ((0, 1, 0, 1), ["before: 4", "after: 4 layers, 2 distinct weights", "after, written as loops"]),
        ((0, 1, 1, 0, 2, 0), ["before: 6", "after: 6", "after, written as loops"]),
        ((0, 1, 0), ["before: 3", "after: 3 layers, 2 distinct weights"]),
    ],
)
def test_diagram_draws_what_folding_changed(after, labels):
    before = tuple(range(len(after)))
    rows = diagram.rows(before, after)
    assert len(rows) == len(labels)
    for row, label in zip(rows, labels, strict=True):
        assert row.label.startswith(label)
        height = diagram.draw_folding(before, after, LIGHT).get_figheight()
    assert height > sum(row.height for row in rows)
    assert [box.layer for box in rows[0].layout.boxes] == list(before)


def test_diagram_colours_only_shared_weights():
    after, before = diagram.shared_colors((0, 1, 2, 3, 3), (0, 1, 0, 1, 1))
    assert after == {0: 0, 1: 1}
    assert before == {3: 2}
    after, before = diagram.shared_colors((0, 1, 0), (0, 0, 0))
    assert after == before == {0: 0}


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        (range(40), "1–40"),
        ((0, 1, 2, 3, 2, 3), "1 2 (3 4)×2"),
        ((0, *range(3, 9), 0), "1 4–9 1"),
        ((0,) * 3, "(1)×3"),
    ],
)
def test_written_as_loops(layers, text):
    assert tables.written_as_loops(tuple(layers)) == text


def test_bands_of_the_curriculum():
    records = [{"step": s, "phase": p} for s, p in [(2, 0), (4, 0), (6, 1), (8, 2), (9, 2)]]
    assert curves.phase_bands([{"step": 1}, *records]) == [
        curves.Band(0, 1, 4),
        curves.Band(1, 4, 6),
        curves.Band(2, 6, 9),
    ]
    assert curves.phase_bands([{"step": 3}]) == []


def test_values_that_are_not_finite_are_left_out():
    records = [{"step": 1, "x": 0.5}, {"step": 2, "x": float("nan")}, {"step": 3}, {"step": 4, "x": 1}]
    assert curves.points(records, "x") == ([1, 4], [0.5, 1])


@pytest.mark.parametrize("changes", ["early", "late", "never"])
@pytest.mark.parametrize("number", [1, 2, 8, 9, 21, 400])
def test_steps_are_spaced_from_first_to_last_and_closer_where_layers_change(number, changes):
    steps = range(0, 10 * number, 10)
    level = {"early": lambda t: min(1, 10 * t), "late": lambda t: max(0, 10 * t - 9), "never": lambda t: 0.5}
    history = {step: np.full((3, 3), level[changes](i / number)) for i, step in enumerate(steps)}
    chosen = matrices.spaced_steps(history)
    assert len(chosen) == min(number, 8)
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1]) == (steps[0], steps[-1])
    if number == 400:
        first, last = chosen[1] - chosen[0], chosen[-1] - chosen[-2]
        assert {"early": first < last, "late": first > last, "never": abs(first - last) <= 20}[changes]


@pytest.mark.parametrize("layers", [2, 13, 40, 100])
def test_matrices_of_any_size_keep_the_scale(layers):
    matrix = np.full((layers, layers), 0.5)
    figure = matrices.draw_matrix(matrix, "weights", LIGHT)
    (image,) = figure.axes[0].get_images()
    assert image.get_clim() == (0, 1)
    labels = [int(label.get_text()) for label in figure.axes[0].get_xticklabels()]
    assert labels[0] == 1
    assert len(labels) <= 21
    assert len(figure.axes[0].texts) == (layers**2 if layers <= 12 else 0)


def test_animation_keeps_a_colour_for_a_similarity():
    history = {step: {"weights": np.array([[1.0, step / 90], [step / 90, 1.0]])} for step in range(0, 91, 1)}
    picture = animation.animate("a.gif", "a", history, ["weights"], 1_000_000)
    for data, theme in [(picture.light, LIGHT), (picture.dark, DARK)]:
        with Image.open(io.BytesIO(data)) as image:
            assert image.n_frames == animation.MOST_FRAMES
            for frame in (0, image.n_frames - 1):
                image.seek(frame)
                corner = np.array(image.convert("RGB").getpixel((5, animation.HEAD + 5))) / 255
                np.testing.assert_allclose(corner, theme.colormap(1.0)[:3], atol=0.02)
                margin = np.array(image.convert("RGB").getpixel((0, 0))) / 255
                np.testing.assert_allclose(margin, _rgb(theme.surface), atol=0.001)


def test_animation_leaves_frames_out_where_it_would_be_too_large():
    history = {step: {"weights": np.eye(4)} for step in range(100)}
    sizes = {}
    for most_bytes in (1_000_000, 0):
        picture = animation.animate("a.gif", "a", history, ["weights"], most_bytes)
        with Image.open(io.BytesIO(picture.light)) as image:
            sizes[most_bytes] = image.n_frames
    assert sizes == {1_000_000: animation.MOST_FRAMES, 0: animation.FEWEST_FRAMES}


def test_names_of_files_are_plain_and_differ():
    assert figures.file_names(["blocks", "a/b", "a b", "$"]) == ["blocks", "a-b-2", "a-b-3", "group"]


def _rgb(color: str) -> tuple[float, ...]:
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))


def _example(path: list[int], predicted: list[int]) -> examples.Example:
    marked = [np.isin(np.arange(9), cells).reshape(3, 3) for cells in (path[:2], [], path, predicted)]
    return examples.Example(*marked)


def test_examples_tell_right_missed_and_wrong_apart():
    example = _example([0, 1, 2], [1, 2, 5])
    assert np.flatnonzero(example.missed).tolist() == [0]
    assert np.flatnonzero(example.wrong).tolist() == [5]
    assert example.errors == 2
    figure = draw("x.png", "x", lambda theme: examples.draw_examples([example], "t", theme))
    with Image.open(io.BytesIO(figure.light)) as image:
        colors = {tuple(c) for c in np.asarray(image.convert("RGB")).reshape(-1, 3)[::7]}
    near = [any(np.allclose(np.array(c) / 255, _rgb(w), atol=0.03) for c in colors) for w in
            (LIGHT.right, LIGHT.missed, LIGHT.wrong, LIGHT.wall)]  # fmt: skip
    assert all(near)


def test_examples_are_the_longest_and_the_worst():
    short, long = _example([0, 1], [0, 1]), _example([0, 1, 2, 5], [0, 1, 2, 5])
    bad, worse = _example([0, 1], [0]), _example([0, 1], [7])
    assert examples.choose([short, bad, long, worse], number=1) == ([long], [worse])
    assert examples.choose([short, long], number=1) == ([long], [])


@pytest.mark.parametrize(
    ("step", "certificate_step", "expected"),
    [(8, None, (0.8, 8)), (7, None, (0.4, 4)), (3, None, None), (None, None, (0.8, 8)), (4, 4, (0.5, 4)),
     (8, 4, (0.8, 8)), (8, 8, (0.5, 8))],
)  # fmt: skip
def test_score_is_that_of_the_checkpoint(step, certificate_step, expected):
    records = [{"step": 4, "target/f1": 0.4}, {"step": 6, "train/f1": 0.6}, {"step": 8, "target/f1": 0.8}]
    certificate = None if certificate_step is None else {"step": certificate_step, "metric": {"after": 0.5}}
    assert tables.score(records, "f1", step, certificate) == expected


def test_collect_changes_nothing(copy):
    workdir = copy("folded")
    before = sorted(str(file) for file in workdir.root.rglob("*"))
    run = collect(workdir)
    assert run.missing == ()
    assert (run.step, sorted(run.history)) == (16, [0, 4, 8, 12, 16])
    assert sorted(str(file) for file in workdir.root.rglob("*")) == before
    assert dataclasses.asdict(run)["certificate"]["threshold"] == 0.0
