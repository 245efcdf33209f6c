"""The report of CIFAR runs: what is on the page of one, and how several are compared with each other."""

import itertools
import re
import xml.etree.ElementTree as ET

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from softshare_jax.description import published
from softshare_jax.reporting import comparison_plot, scores
from softshare_jax.reporting.write import write_report
from softshare_jax.runs.read import read
from tests import cifar as fakes
from tests.reporting.page import read_page
from tests.reporting.runs import certificate, config, fabricate, record

# As the poster prints them: name, parameters in millions, error on CIFAR-10 and on CIFAR-100.
POSTER = """
ResNeXt-29 16x64 | 68 | 3.58 | 17.31
DenseNet 100-24 | 27 | 3.74 | 19.25
DenseNet-BC 190-40 | 26 | 3.46 | 17.18
WRN 28-10 | 36 | 4.0 | 19.25
WRN 28-10* | 36 | 3.89 | 18.85
SWRN 28-10* | 36 | 3.88 | 18.43
SWRN 28-10-2* | 17 | 3.75 | 18.66
SWRN 28-14* | 71 | 3.67 | 18.25
SWRN 28-14-2* | 33 | 3.69 | 18.37
SWRN 28-18* | 118 | 3.48 | 17.43
SWRN 28-18-2* | 55 | 3.43 | 17.75
"""
# Name, parameters in millions, GPU days, error on CIFAR-10 with cutout.
POSTER_CUTOUT = """
NASNet-A | 3.3 / 27.6 | 1800 | 2.65 / 2.40
AmoebaNet-B | 2.8 / 13.7 / 34.9 | 3150 | 2.55 / 2.31 / 2.13
DARTS | 3.4 | 4 | 2.83
SNAS | 2.8 | 1.5 | 2.85
ENAS | 4.6 | 0.45 | 2.89
WRN 28-10 | 36.4 | 0.4 | 3.08
SWRN 28-6-2 | 6.1 | 0.25 | 3.0
SWRN 28-10-2 | 17.1 | 0.4 | 2.69
SWRN 28-14-2 | 33.5 | 0.7 | 2.53
"""
CPU = {"step": 0, "device": "cpu", "devices": 1, "jax": "1"}


def cells(table):
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


@pytest.mark.parametrize("column", [2, 3])
def test_published_errors_are_those_of_the_poster(column):
    found = published.errors({2: "cifar10", 3: "cifar100"}[column], cutout=False)
    assert found == [(line[0], float(line[1]), float(line[column])) for line in cells(POSTER)]


def test_published_errors_with_cutout_are_those_of_the_poster():
    expected = [
        (name, float(millions), float(error))
        for name, sizes, _, errors in cells(POSTER_CUTOUT)
        for millions, error in zip(sizes.split("/"), errors.split("/"), strict=True)
    ]
    found = published.errors("cifar10", cutout=True)
    assert found == expected
    assert published.errors("cifar100", cutout=True) == []


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Nine runs in one report, which lies in the first."""
    root = tmp_path_factory.mktemp("compared")
    plain, shared = config("wrn-10-1"), "swrn-16-1-1"
    held_out = {"data__validation_examples": 4}
    runs = [
        # Errors 10, 12 and 14%, in 60, 120 and 180 s; what was held out does not count.
        *(
            fabricate(
                root / f"wrn-{seed}",
                config("wrn-10-1", seed=seed, **held_out),
                [record(4, 60 * (seed + 1), eval__accuracy=0.5, test__accuracy=0.9 - 0.02 * seed)],
                [CPU],
            )
            for seed in range(3)
        ),
        fabricate(root / "again", config("wrn-10-1", **held_out), [record(4, test__accuracy=0.1)]),
        # Measured on the test split throughout: the last one counts.
        fabricate(
            root / "shared",
            config(shared),
            [record(2, eval__accuracy=0.5), record(4, 7200, eval__accuracy=0.75)],
            [CPU, {"step": 2, "device": "H100", "devices": 4, "jax": "1"}],
        ),
        # The records are those of its source.
        fabricate(
            root / "folded",
            config(shared, **held_out),
            [record(4, eval__accuracy=0.99, test__accuracy=0.99)],
            certificate=certificate(0.7),
        ),
        fabricate(root / "dropout", config("wrn-10-1-dropout-cutout"), [record(4, eval__accuracy=0.8)]),
        fabricate(root / "unfinished", plain, [record(2, eval__accuracy=0.5)]),
        fabricate(root / "untested", config("wrn-10-1", **held_out), [record(4, eval__accuracy=0.5)]),
    ]
    write_report(runs)
    return runs


def test_table_groups_runs_by_all_but_their_seed(compared):
    page = read_page(compared[0])
    header = ["model", "data set", "settings", "parameters", "seeds", "test error", "time", "device"]
    start = page.cells.index(header)
    rows = [dict(zip(header, row, strict=True)) for row in page.cells[start + 1 : start + 5]]
    assert [row["model"] for row in rows] == ["wrn-10-1", "swrn-16-1-1", "swrn-16-1-1", "wrn-10-1"]
    assert [row["seeds"] for row in rows] == ["3", "1", "1", "1"]
    # Sample standard deviation of 10, 12 and 14.
    assert [row["test error"] for row in rows] == ["12.00 ± 2.00%", "25.00%", "30.00%", "20.00%"]
    assert [row["time"] for row in rows] == ["2 min", "2.0 h", "1 s", "1 s"]
    assert [row["device"] for row in rows] == ["1 × cpu", "1 × cpu, then 4 × H100", "–", "–"]
    assert "folded at 0 by weights, step 4" in rows[2]["settings"]
    assert "dropout 0.3" in rows[3]["settings"]
    assert "cutout 16" in rows[3]["settings"]
    assert "data.validation_examples 4" in rows[0]["settings"]
    assert "dropout" not in rows[0]["settings"]
    assert all(row["settings"].startswith("2 epochs") for row in rows)
    # 16 channels, one block in each stage: counted by hand from the layers.
    convolutions = 27 * 16 + 9 * (16 * 16 * 2 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    shortcuts, norms = 16 * 32 + 32 * 64, 2 * (16 * 2 + 16 + 32 + 32 + 64 + 64)
    assert rows[0]["parameters"] == f"{convolutions + shortcuts + norms + 64 * 10 + 10:,}"


def test_what_cannot_be_compared_is_named(compared):
    text = read_page(compared[0]).text
    assert "again repeats wrn-0: the seed is the same." in text
    assert "unfinished is at step 2 of 4." in text
    assert "untested has no error on test images." in text
    assert "measured on their own hardware or quoted there from others" in text


def test_figure_of_the_comparison_lies_in_the_first_workdir(compared):
    files = [run.figures / "comparison.svg" for run in compared]
    assert [file.exists() for file in files] == [True] + [False] * 8
    root = ET.fromstring(files[0].read_text())
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"CIFAR-10: test error in %", "CIFAR-10, with cutout: test error in %"} <= set(texts)
    # What was published, and the runs, by name and error; on hover with their parameters.
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    named = {"SWRN 28-10-2*  3.75", "DARTS  2.83", "wrn-10-1  12.00", "swrn-16-1-1, folded  30.00"}
    assert named <= set(texts)
    assert "SWRN 28-10-2*  3.75%, 17 million parameters" in titles
    # 11 networks without cutout, 12 with it, and the four lines of the table.
    assert len(titles) == 11 + 12 + 4
    page = read_page(compared[0])
    assert page.headings[:2] == ["9 runs", "Comparison"]
    assert any(image["alt"].startswith("Test error against parameters") for image in page.images)


def test_summary_shows_errors(compared):
    page = read_page(compared[0])
    header = page.cells[0]
    rows = {row[0]: dict(zip(header, row, strict=True)) for row in page.cells[1:10]}
    assert "accuracy" not in header
    assert rows["wrn-1"]["error"] == "12.00%"
    assert rows["folded"]["error"] == "30.00%"
    assert rows["untested"]["error"] == "50.00%"


def test_certificate_shows_errors(compared):
    rows = {row[0]: row for row in read_page(compared[0]).cells if row}
    assert rows["test error"] == ["test error", "10.00%", "30.00%", "+20.00 points"]


def test_one_run_and_runs_without_results_are_not_compared(tmp_path):
    one = fabricate(tmp_path / "one", config("wrn-10-1"), [record(4, eval__accuracy=0.5)])
    write_report([one])
    assert "Comparison" not in read_page(one).headings
    empty = fabricate(tmp_path / "empty", config("wrn-10-1", seed=1))
    early = fabricate(tmp_path / "early", config("wrn-10-1", seed=2), [record(1)])
    write_report([empty, early])
    page = read_page(empty)
    assert "Left out: empty has no error on test images. early has no error on test images." in page.text
    assert not (empty.figures / "comparison.png").exists()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A fake of CIFAR-10 with 20 images to test."""
    root = tmp_path_factory.mktemp("tfds")
    fakes.write_directory(fakes.fake("cifar10", train=20, test=20), root)
    return root


@pytest.fixture(scope="module")
def reported(tmp_path_factory, data_dir):
    """A run with a checkpoint of initial weights, a similarity history and its report."""
    workdir = fabricate(
        tmp_path_factory.mktemp("reported") / "run",
        config("swrn-16-1-1", data_dir=str(data_dir), data__validation_examples=4),
        [
            record(2, 400, train__accuracy=0.2, eval__accuracy=0.5, eval__loss=2.0, target__accuracy=0.5),
            record(4, 720, train__accuracy=0.3, eval__accuracy=0.5, eval__loss=1.0, target__accuracy=0.5,
                   test__accuracy=0.625),
        ],
        [CPU, CPU],
        checkpoint=True,
        similarity=range(5),
    )  # fmt: skip
    write_report([workdir], str(data_dir))
    return workdir


def test_page_of_a_run_without_a_curriculum(reported):
    page = read_page(reported)
    layers = r"6 layers (would fold to [1-5]|do not fold): error 37\.50%, \d\d% of the unshared parameters"
    assert re.fullmatch(layers, page.headings[0])
    assert page.headings[1:] == [
        "Layer similarity",
        "How the layers came to resemble each other",
        "Folding, a preview",
        "Learning curves",
        "Test examples",
        "Parameters",
        "Config",
    ]
    assert not re.search("curriculum|phase|band", page.text)
    assert "error 37.50% test, cifar10" in page.text
    assert "time 12 min on 1 × cpu" in page.text
    assert "of the first 20 test images" in page.text
    files = {file.name for file in reported.figures.iterdir()}
    assert {"epochs.png", "accuracy.svg", "loss.svg"} <= files
    assert "the first test images" in page.text
    assert "most confidently wrong" in page.text
    of_poster = [one for one in page.images if one["alt"].startswith("similarity of coefficients in group")]
    assert len(of_poster) == 3 * 3
    assert scores.evaluated(read(reported)) == "held out"


def test_score_is_the_newest_and_on_test_images_where_there_is_one(tmp_path):
    settings = config("wrn-10-1", data__validation_examples=4, duration="3 epochs")
    lines = [record(4, eval__accuracy=0.5, test__accuracy=0.6), record(5, eval__accuracy=0.7)]
    run = read(fabricate(tmp_path / "run", settings, lines))
    newest = scores.newest(scores.accuracies(run))
    assert newest == scores.Measured(0.7, 5, "validation")
    assert newest.error == pytest.approx(30)
    run = read(fabricate(tmp_path / "early", settings, lines[:1]))
    assert scores.newest(scores.accuracies(run)) == scores.Measured(0.6, 4, "test")


@pytest.mark.parametrize(
    ("at", "expected"), [(4, (0.7, 4, "test")), (2, (0.6, 4, "test")), (1, (0.6, 4, "test"))]
)
def test_records_before_a_fold_are_those_of_its_source(tmp_path, at, expected):
    run = read(
        fabricate(
            tmp_path / "folded",
            config("swrn-16-1-1"),
            [record(2, eval__accuracy=0.9), record(4, eval__accuracy=0.6)],
            certificate=certificate(0.7, at),
        )
    )
    assert scores.newest(scores.accuracies(run)) == scores.Measured(*expected)


def test_without_data_there_is_a_report_that_says_so(tmp_path):
    broken = tmp_path / "data" / "cifar10" / "3.0.2"
    broken.mkdir(parents=True)
    (broken / "dataset_info.json").write_text("{")
    settings = config("wrn-10-1", data_dir="/elsewhere")
    workdir = fabricate(tmp_path / "run", settings, [record(4, eval__accuracy=0.5)], checkpoint=True)
    write_report([workdir], str(tmp_path / "data"))
    page = read_page(workdir)
    assert page.headings[1:] == ["What is missing", "Learning curves", "Parameters", "Config"]
    assert "No test examples:" in page.text
    assert f"{broken} cannot be read" in page.text
    # What the run was trained with is not even looked at.
    assert "/elsewhere" not in " ".join(page.text.split("Config")[0].split())
    assert "A report reads no data but those of its own --data_dir=DIR." in page.text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (720, "12 min"), (5940, "99 min"), (12240, "3.4 h")]
)
def test_durations(seconds, text):
    assert scores.duration(seconds) == text


@hypothesis.given(st.lists(st.floats(0, 1), max_size=20))
def test_names_in_the_margin_do_not_overlap(heights):
    heights = sorted(heights)
    moved = comparison_plot.spread(heights, 0.05, 0, 1)
    assert len(moved) == len(heights)
    assert all(b - a >= 0.05 - 1e-9 for a, b in itertools.pairwise(moved))
    assert all(-1e-9 <= height <= 1 for height in moved)
    apart = [0.1 * place for place in range(11)]
    np.testing.assert_allclose(comparison_plot.spread(apart, 0.05, 0, 1), apart)


@pytest.mark.parametrize("error", [0.0, 3.5, 90.0])
def test_comparison_of_any_scale_is_drawn(error):
    kinds = (("unshared", 0.1, 0.0), ("soft-shared", 36.0, 2 * error), ("folded", 36.0, 0.1))
    points = [
        comparison_plot.Point(f"net {kind}", millions, error, deviation, kind, (data, cutout))
        for kind, millions, deviation in kinds
        for data in ("cifar10", "cifar100")
        for cutout in (False, True)
    ]
    figure = comparison_plot.draw(points)
    assert figure.file == "comparison.svg"
    root = ET.fromstring(figure.content)
    numbers = re.findall(r'(?:x|y|cx|cy|d)="([^"]*)"', figure.svg)
    assert not any("nan" in number or "inf" in number for number in numbers)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert sum(text == f"net folded  {error:.2f}" for text in texts) == 4
