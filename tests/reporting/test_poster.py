"""The page of the poster's tables: every name, as many parameters as published, runs as what they are."""

import json
import re
import runpy
import sys

import pytest

from softshare_jax import config as config_lib
from softshare_jax import poster
from softshare_jax.description import published
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.reporting import comparison
from softshare_jax.reporting.poster import settings, write_poster
from softshare_jax.runs.artifacts import Conversion, Counts, Difference, Metric, Models
from softshare_jax.runs.workdir import Workdir
from tests.reporting.runs import config, fabricate, record
from tests.reporting.test_comparison import CPU, POSTER, POSTER_CUTOUT, cells
from tests.tiny import REPO

POSTER_IMAGENET = """
WRN 50-2 | 69 | 22.0 | 6.05
DenseNet-264 | 33 | 22.15 | 6.12
ResNet-200 | 65 | 21.66 | 5.79
SWRN 50-2 | 69 | 21.74 | 5.95
"""
# Names that only its plots show.
PLOTTED = ("WRN 40-4", "SWRN 28-10-1", "ResNeXt-29 8x64")
SEARCHED = ("NASNet-A", "AmoebaNet-B", "DARTS", "SNAS", "ENAS")
CIFAR_RECIPE = {"data__train_examples": 50000, "batch_size": 128, "duration": "200 epochs"}
IMAGENET_RECIPE = {"data__train_examples": 1281167, "batch_size": 256, "duration": "100 epochs"}
H100 = {"step": 0, "device": "NVIDIA H100", "devices": 1, "jax": "1"}


def write(root, *workdirs):
    """Runs the command as a person would in the folder of a project, and returns the page."""
    (root / "docs").mkdir(exist_ok=True)
    arguments = ["--output=docs/poster.md", *(f"--workdir={workdir.root}" for workdir in workdirs)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(sys, "argv", ["poster", *arguments])
        poster.main()
    assert [file.name for file in (root / "docs").iterdir()] == ["poster.md"]
    return (root / "docs" / "poster.md").read_text()


def tables(page):
    """Returns the cells of each table of a page, without its header."""
    _, *parts = re.split(r"\n\|(?:---\|)+\n", page)
    return [[line[1:-1] for line in cells(part.split("\n\n")[0])] for part in parts]


@pytest.fixture(scope="module")
def without_runs(tmp_path_factory):
    return write(tmp_path_factory.mktemp("without"))


def test_the_page_in_the_docs_is_what_the_command_writes(without_runs):
    # Ignores measured values and the command that shows them.
    def unmeasured(page):
        found = []
        for title, header, lines in re.findall(r"## (.*)\n\n(.*)\n\|[-|]+\|\n((?:\|.*\n)+)", page):
            columns = [i for i, name in enumerate(header.split("|")) if name.strip() != "measured"]
            found += [[title, *(line.split("|")[i] for i in columns)] for line in lines.splitlines()]
        return page.partition("```")[0], found

    page = unmeasured((REPO / "docs" / "poster.md").read_text())
    assert unmeasured(without_runs) == page
    assert len(page[1]) == sum(len(table.rows) for table in published.TABLES)


def test_no_row_of_the_poster_is_missing_and_all_have_as_many_parameters(without_runs):
    cifar, imagenet, search = tables(without_runs)
    expected_cifar = [(name, size, "", a, b) for name, size, a, b in cells(POSTER)]
    expected_cifar += [(name + "*" * name.startswith("S"), "–", "", "–", "–") for name in PLOTTED]
    expected_imagenet = [(name, size, "", f"{a} / {b}") for name, size, a, b in cells(POSTER_IMAGENET)]
    expected_search = [
        (name, size.strip(), days, error.strip())
        for name, sizes, days, errors in cells(POSTER_CUTOUT)
        for size, error in zip(sizes.split("/"), errors.split("/"), strict=True)
    ]
    for lines, expected, has_days in (
        (cifar, expected_cifar, False),
        (imagenet, expected_imagenet, False),
        (search, expected_search, True),
    ):
        for line, (label, size, days, *errors) in zip(lines, expected, strict=True):
            name, network, setting, millions, counted, *rest = line
            assert (name, "dropout" in setting) == (label.rstrip("*"), label.endswith("*"))
            assert ("cutout" in setting) is has_days
            # Raises where there is none.
            assert zoo.named(network.strip("`")).name == network.strip("`")
            assert millions == size
            assert (rest.pop(0) if has_days else "") == days
            assert [numbers(error) for error in rest[::2]] == [numbers(error) for error in errors]
            assert set(rest[1::2]) == {"not run"}
            if size != "–":
                # Rounded or cut off to that digit; searched cells are published without every detail.
                digit = 0.1 if "." in size else 1.0
                room = 0.03 * float(size) if name in SEARCHED else 0.005 * float(size) + digit
                assert abs(int(counted.replace(",", "")) / 1e6 - float(size)) < room


def numbers(errors):
    return [error if error == "–" else float(error) for error in errors.split(" / ")]


def test_shipped_configs_train_every_row_by_the_recipe():
    suffix = {published.AUGMENTED: "", published.DROPOUT: "-dropout", published.CUTOUT: "-cutout"}
    for table in published.TABLES:
        for row in table.rows:
            for data in table.data:
                file, variant = data, row.network + suffix[row.setting]
                if data == "imagenet2012":
                    file = "imagenet"
                elif row.name in SEARCHED:
                    file, variant = "cells", row.network
                values = runpy.run_path(str(REPO / "configs" / f"{file}.py"))["get_config"](variant)
                shipped = config_lib.from_dict(values.to_dict())
                expected = comparison.settings(shipped)
                assert settings(row, data) == expected
                found = published.find(
                    shipped.model, shipped.data.name, shipped.dropout_rate, expected.get("data.cutout", 0)
                )
                assert found is row


def test_runs_are_shown_as_what_they_are(tmp_path):
    held_out = {**CIFAR_RECIPE, "data__train_examples": 45000, "data__validation_examples": 5000}
    runs = [
        # Errors 3.7 and 3.9%.
        *(
            fabricate(
                tmp_path / f"whole-{seed}",
                config("swrn-28-10-2-dropout", seed=seed, **CIFAR_RECIPE),
                [record(390, eval__accuracy=0.5), record(78000, 29160, eval__accuracy=0.963 - 0.002 * seed)],
                [H100],
            )
            for seed in range(2)
        ),
        fabricate(
            tmp_path / "short",
            config("wrn-28-10", **{**CIFAR_RECIPE, "duration": "3 epochs"}),
            [record(1170, 1080, eval__accuracy=0.738)],
            [CPU],
        ),
        fabricate(
            tmp_path / "stopped",
            config("wrn-28-10", **CIFAR_RECIPE),
            [record(585, 600, eval__accuracy=0.6), record(600, 700)],
        ),
        fabricate(
            tmp_path / "held-out",
            config("wrn-28-10", file="cifar100", optimizer__learning_rate=0.05, **held_out),
            [record(70200, eval__accuracy=0.9, test__accuracy=0.8)],
            [H100],
        ),
        fabricate(
            tmp_path / "converted",
            config("swrn-28-6-2-cutout", **{**CIFAR_RECIPE, "duration": "2 epochs"}),
            [record(780, 100, eval__accuracy=0.5)],
        ),
        fabricate(
            tmp_path / "imagenet",
            config("swrn-50-2", file="imagenet", **IMAGENET_RECIPE),
            [record(500400, 90000, eval__accuracy=0.78, eval__top_5=0.94)],
        ),
    ]
    conversion = Conversion(
        step=9,
        difference=Difference(Counts(2, 1), Metric("accuracy", "test", 0.5, 0.5), 0.1),
        model=Models("wrn-28-6", "swrn-28-6-2"),
        groups=(),
    )
    runs[5].write(runs[5].conversion_file, json.dumps(conversion.to_json()))
    page = write(tmp_path, *runs)
    # What the page says that it was written by has all runs.
    assert f"--output=docs/poster.md --workdir={runs[0].root} " in page
    cifar, imagenet, search = tables(page)
    measured = {(line[0], line[2]): (line[6], line[-1]) for line in cifar}
    # The sample standard deviation of two numbers is their distance over the root of two.
    assert measured["SWRN 28-10-2", "+, dropout"] == (
        "3.80 ± 0.14% after 200 epochs on 1 × NVIDIA H100, 2 seeds, 8.1 h",
        "not run",
    )
    assert measured["WRN 28-10", "+"] == (
        "26.20% after 3 of 200 epochs on 1 × cpu, 1 seed, 18 min"
        "<br>40.00% after 1.5 of 200 epochs, unfinished, 1 seed, 10 min",
        "20.00% after 200 epochs on 1 × NVIDIA H100, 1 seed, 1 s, data.train_examples 45000, "
        "data.validation_examples 5000, optimizer.learning_rate 0.05",
    )
    assert measured["WRN 28-10", "+, dropout"] == ("not run", "not run")
    assert {(line[0], line[-1]) for line in search if line[-1] != "not run"} == {
        ("SWRN 28-6-2", "50.00% after 2 of 200 epochs, 1 seed, 2 min, converted from wrn-28-6, step 9")
    }
    assert [line[-1] for line in imagenet] == [
        *["not run"] * 3,
        "22.00% / 6.00% after 100 epochs, 1 seed, 25.0 h",
    ]


@pytest.mark.parametrize(
    ("variant", "accuracy", "message"),
    [
        (
            "wrn-10-1",
            {"eval__accuracy": 0.5},
            "wrn-10-1 on cifar10 with dropout 0.0 and cutout 0, which no row",
        ),
        ("swrn-28-10-2", {"eval__accuracy": 0.5}, "which no row of the poster is: leave it out"),
        ("wrn-28-10", {}, "has no error on test images yet: train it on, or leave it out"),
    ],
)
def test_runs_that_have_no_place(tmp_path, variant, accuracy, message):
    run = fabricate(tmp_path / "run", config(variant), [record(4, **accuracy)])
    with pytest.raises(UserError, match=message):
        write_poster(tmp_path / "page.md", [run], "")
    assert not (tmp_path / "page.md").exists()


def test_folders_without_runs_and_runs_twice(tmp_path):
    output = tmp_path / "page.md"
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no run of a classifier: This folder holds no run"):
        write_poster(output, [Workdir(tmp_path / "empty")], "")
    with pytest.raises(UserError, match="is a folder: name a file"):
        write_poster(tmp_path, [], "")
    with pytest.raises(UserError, match="there is no such folder"):
        write_poster(tmp_path / "none" / "page.md", [], "")
    one, two = (
        fabricate(tmp_path / name, config("wrn-40-4"), [record(4, eval__accuracy=0.5)])
        for name in ("one", "two")
    )
    with pytest.raises(UserError, match=r"two repeats .*one: the seed is the same, leave one of them out"):
        write_poster(output, [one, two], "")
    assert not output.exists()


def test_a_file_of_something_else_is_not_replaced(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("# Mine\n")
    with pytest.raises(UserError, match="holds something else: name a new file"):
        write_poster(page, [], "")
    assert page.read_text() == "# Mine\n"
