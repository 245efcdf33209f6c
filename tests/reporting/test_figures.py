"""Matrices, loops and charts: on the page and in the folder of figures."""

import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from softshare_jax import sharing
from softshare_jax.reporting import curves, loops, matrices, scores, theme
from softshare_jax.reporting.write import write_report
from softshare_jax.runs.artifacts import Certificate, Counts, Difference, Metric
from softshare_jax.runs.read import Run, read
from softshare_jax.runs.records import Record
from softshare_jax.runs.workdir import Workdir
from tests.reporting.page import read_page


def test_figures_are_written_into_each_workdir(reported):
    of_any = {"loss.svg", "f1.svg"}
    of_group = {"similarity-blocks-coefficients.png", "similarity-blocks-weights.png"}
    for name, expected in [
        ("trained", of_any | of_group | {"evolution-blocks.png"}),
        ("folded", of_group),
        ("unshared", of_any),
    ]:
        files = sorted(reported[name].figures.iterdir())
        assert {file.name for file in files} == expected
        for file in files:
            if file.suffix == ".svg":
                assert "var(" not in file.read_text()
                assert ET.fromstring(file.read_text()).tag.endswith("svg")
                continue
            with Image.open(file) as image:
                image.load()
                assert image.format.lower() == file.suffix[1:]
                assert min(image.size) > 100


def test_read_changes_nothing(copy):
    workdir = copy("folded")
    before = sorted(str(file) for file in workdir.root.rglob("*"))
    run = read(workdir)
    assert run.problems == ()
    assert (run.step, sorted(run.history)) == (16, [0, 4, 8, 12, 16])
    assert [record.step for record in run.records] == [4, 8, 12, 16]
    assert {"train/loss", "phase"} <= set(run.records[0].scalars)
    assert [(device.kind, device.number) for device in run.devices] == [("cpu", 4)]
    assert {"softshare_jax", "jax", "python"} <= set(run.versions)
    assert sorted(str(file) for file in workdir.root.rglob("*")) == before
    assert run.certificate.threshold == 0.0


def rgb(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def test_matrices_on_the_page(reported):
    """Every cell has its value; the pictures have a pixel for each; the slider has all steps."""
    text = reported["trained"].report_file.read_text()
    run = read(reported["trained"])
    found = sharing.similarity(run.plan, run.variables, "weights")["blocks"]
    table = text.split("similarity of weights</caption>")[1].split("</table>")[0]
    titles = re.findall(r'<td class="s(\d+)" title="layers (\d) and (\d): ([\d.]+)">([\d.]+)</td>', table)
    assert len(titles) == 16
    for level, i, j, value, written in titles:
        expected = float(found[int(i) - 1, int(j) - 1])
        assert float(value) == pytest.approx(expected, abs=6e-4)
        assert float(written) == pytest.approx(expected, abs=6e-3)
        assert int(level) == round(min(max(expected, 0), 1) * 20)
    frames = re.findall('data-frames="([^"]+)"', text)
    recorded = [run.history[step][measure]["blocks"] for measure in sharing.MEASURES for step in run.history]
    stored = np.frombuffer(b"".join(map(base64.b64decode, frames)), np.uint8).reshape(-1, 4, 4) / 255
    np.testing.assert_allclose(stored, np.clip(recorded, 0, 1), atol=0.003)
    assert 'data-steps="[0, 4, 8, 12, 16]"' in text
    page = read_page(reported["trained"])
    assert sum("at step 8" in image["alt"] for image in page.images) == 2


@pytest.mark.parametrize("layers", [2, 12, 13, 64])
def test_tables_of_any_size(layers):
    cells = matrices.cells(np.linspace(0, 1, layers**2).reshape(layers, layers))
    assert [len(row) for row in cells] == [layers] * layers
    assert (cells[0][0].level, cells[0][0].value, cells[-1][-1].level) == (0, "0.000", 20)
    assert all(bool(cell.text) is (layers <= 12) for row in cells for cell in row)
    assert matrices.cells(np.full((2, 2), 0.345))[0][0].text == ".34"


def test_a_large_group_is_a_picture(copy):
    """A table of 65 layers would have 4,225 cells."""
    workdir = copy("trained")
    workdir.plan_file.unlink()
    for file in workdir.similarity.iterdir():
        np.savez(file, **{"weights/blocks": np.eye(65, dtype=np.float16)})
    write_report([workdir])
    text = workdir.report_file.read_text()
    assert "<caption>" not in text
    assert "data-frames=" not in text
    assert any(image["alt"] == "similarity of weights in group blocks" for image in read_page(workdir).images)
    assert len(text) < 100_000


def test_a_color_is_that_of_its_similarity_everywhere():
    matrix = np.array([[1.0, 0.5], [0.25, 0.0]])
    for picture, dark in zip(matrices.pixels(matrix), (False, True), strict=True):
        expected = [[theme.rgb(theme.scale(dark)[level]) for level in row] for row in ([20, 10], [5, 0])]
        np.testing.assert_array_equal(rgb(picture), expected)
    saved = matrices.save("x.png", {"step 0": {"a": matrix}}, ["a", "b"], side=100)
    image = np.asarray(Image.open(io.BytesIO(saved.content)).convert("RGB"))
    for level in (20, 10, 5, 0):
        near = np.abs(image.astype(int) - theme.rgb(theme.scale()[level])).max(-1) <= 2
        assert near.sum() >= 50 * 50


@pytest.mark.parametrize("dark", [False, True])
def test_texts_can_be_read(dark):
    """Contrast of 4.5 or more, by the definition of WCAG."""

    def luminance(color):
        parts = np.array(theme.rgb(color)) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722)

    def contrast(a, b):
        low, high = sorted((luminance(a), luminance(b)))
        return (high + 0.05) / (low + 0.05)

    colors = theme.variables(dark)
    pairs = [(name, name.removeprefix("on-")) for name in colors if name.startswith("on-")]
    pairs += [(text, back) for text in ("ink", "muted", "accent", "warning") for back in ("surface", "page")]
    assert len(pairs) == 8 + 21 + 8
    for text, back in pairs:
        assert contrast(colors[text], colors[back]) >= 4.5, (text, back)


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


def test_a_long_history_is_thinned_out(copy):
    workdir = copy("trained")
    files = sorted(workdir.similarity.iterdir())
    for step in range(20, 1000, 4):
        (workdir.similarity / f"{step:08d}.npz").write_bytes(files[-1].read_bytes())
    write_report([workdir])
    (steps,) = re.findall(r'data-steps="\[([^\]]+)\]"', workdir.report_file.read_text())
    steps = [int(step) for step in steps.split(",")]
    assert (len(steps), steps[0], steps[-1]) == (60, 0, 996)


def test_times_of_the_poster():
    steps = range(0, 78001, 390)
    chosen = matrices.poster_steps(steps, 78000)
    assert [matrices.epoch_label(step, 390) for step in chosen] == [f"epoch {e}" for e in (0, 5, 25, 50, 200)]
    assert matrices.poster_steps([0, 10], 10) == [0, 10]
    assert matrices.poster_steps([0, 10, 20], 100) == [0, 10, 20]


@pytest.mark.parametrize(
    ("step", "text"),
    [(0, "epoch 0"), (390, "epoch 1"), (117, "epoch 0.3"), (1, "step 1"), (1171, "step 1,171")],
)
def test_names_of_times(step, text):
    assert matrices.epoch_label(step, 390) == text


def test_nested_loops_are_nested_boxes():
    row = loops.rows(range(8), (0, 1, 2, 2, 1, 2, 2, 3))[-1]
    assert row.text == "1 (2 (3)×2)×2 4"
    # Each box by its class, with what is written in it.
    root = ET.fromstring(f"<div>{row.html}</div>")

    def boxes(element):
        return [
            (child.get("class"), boxes(child) if child.get("class") == "loop" else child.text)
            for child in element
        ]

    assert boxes(root) == [
        ("layer", "1"),
        (
            "loop",
            [
                ("times", "×2"),
                ("layer first", "2"),
                ("loop", [("times", "×2"), ("layer first", "3")]),
            ],
        ),
        ("layer", "4"),
    ]


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
def test_rows_show_what_folding_changed(after, labels):
    rows = loops.rows(tuple(range(len(after))), after)
    assert len(rows) == len(labels)
    for row, label in zip(rows, labels, strict=True):
        assert row.label.startswith(label)
    assert re.findall(r">(\d+)<", rows[0].html) == [str(layer + 1) for layer in range(len(after))]
    if len(rows) > 1:
        assert re.findall(r">(\d+)<", rows[1].html) == [str(layer + 1) for layer in after]
        # A weight is filled where it runs first and outlined where it runs again.
        shared = {layer for layer in after if after.count(layer) > 1}
        assert rows[1].html.count("layer first") == len(shared)
        assert rows[1].html.count("layer again") == sum(after.count(layer) - 1 for layer in shared)


def test_only_shared_weights_have_a_color():
    after, before = loops.shared_colors((0, 1, 2, 3, 3), (0, 1, 0, 1, 1))
    assert after == {0: 0, 1: 1}
    assert before == {3: 2}
    after, before = loops.shared_colors((0, 1, 0), (0, 0, 0))
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
    assert loops.written(sharing.find_loops(tuple(layers))) == text


def test_bands_of_the_curriculum():
    records = [Record(s, {"phase": p}) for s, p in [(2, 0), (4, 0), (6, 1), (8, 2), (9, 2)]]
    assert curves.phase_bands([Record(1, {}), *records]) == [(0, 1, 4), (1, 4, 6), (2, 6, 9)]
    assert curves.phase_bands([Record(3, {})]) == []


def test_values_that_are_not_finite_are_left_out(tmp_path):
    workdir = Workdir(tmp_path)
    workdir.metrics_file.write_text(
        '{"step": 1, "x": 0.5}\n{"step": 2, "x": NaN, "y": true}\n{"step": 3}\n'
        f'{{"step": 4, "x": 1, "y": "1", "z": Infinity, "w": {10**400}}}\n'
    )
    records = read(workdir).records
    assert [(record.step, record.scalars.get("x")) for record in records] == [
        (1, 0.5),
        (2, None),
        (3, None),
        (4, 1),
    ]
    assert set(records[3].scalars) == {"step", "x"}


def test_names_of_files_are_plain_and_differ():
    assert curves.file_names(["blocks", "a/b", "a b", "$"]) == ["blocks", "a-b", "a-b-2", "group"]
    assert curves.file_names(["a/b", "a b", "a-b-2"]) == ["a-b", "a-b-3", "a-b-2"]


@pytest.mark.parametrize(
    ("step", "folded_at", "expected"),
    [(8, None, (0.8, 8)), (7, None, (0.4, 4)), (3, None, None), (None, None, (0.8, 8)), (4, 4, (0.5, 4)),
     (8, 4, (0.8, 8)), (8, 8, (0.5, 8))],
)  # fmt: skip
def test_score_is_that_of_the_checkpoint(step, folded_at, expected):
    records = (Record(4, {"target/f1": 0.4}), Record(6, {"train/f1": 0.6}), Record(8, {"target/f1": 0.8}))
    certificate = folded_at and Certificate(
        step=folded_at,
        difference=Difference(Counts(2, 1), Metric("f1", "test", 0.4, 0.5), 0.0),
        measure="weights",
        threshold=0.9,
        shared_layers=2,
        distinct_layers=Counts(2, 1),
    )
    run = Run(Workdir("none"), records=records, step=step, certificate=certificate)
    found = scores.of_checkpoint(run)
    assert (found and found[:2]) == expected
